"""The root of Bascule's one error tree, and the branch that a runtime may raise.

::

    BasculeError                     code fixed by the class
    ├── InvalidArgumentError         invalid_argument: what the caller sent cannot be run
    ├── UnsupportedError             unsupported: a part that this installation does not serve
    ├── EngineError                  internal: the engine failed while it ran a batch
    ├── ModelLoadError               preflight_failed: this model cannot work on this machine
    └── (serving.errors adds the serving branch)

A message says what happened, the value with its limit, and what to do.
"""

from enum import StrEnum
from typing import ClassVar, Self


class Code(StrEnum):
    """What kind of failure it is; `serving.errors.WIRE` maps each to HTTP and gRPC."""

    INVALID_ARGUMENT = "invalid_argument"
    UNAUTHENTICATED = "unauthenticated"
    PERMISSION_DENIED = "permission_denied"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    ALREADY_EXISTS = "already_exists"
    ALREADY_REGISTERED = "already_registered"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_CODING = "unsupported_coding"
    PREFLIGHT_FAILED = "preflight_failed"
    CANCELLED = "cancelled"
    INTERNAL = "internal"
    UNSUPPORTED = "unsupported"
    QUEUE_FULL = "queue_full"
    NO_ROOM = "no_room"
    QUEUE_TIMEOUT = "queue_timeout"
    NOT_READY = "not_ready"
    DRAINING = "draining"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    REQUEST_TIMEOUT = "request_timeout"


class BasculeError(Exception):
    """Anything that Bascule reports to a caller or an operator on purpose."""

    code: ClassVar[Code] = Code.INTERNAL

    def __init__(self, message: str) -> None:
        """Keep the message: what happened, the value and its limit, what to do."""
        super().__init__(message)
        self.message = message

    def reword(self, message: str) -> Self:
        """Return an error with the same facts and another message."""
        # Without the constructor, of which classes have their own.
        reworded = type(self).__new__(type(self), message)
        reworded.__dict__.update(self.__dict__, message=message)
        return reworded


class InvalidArgumentError(BasculeError):
    """The caller sent something that cannot be run."""

    code = Code.INVALID_ARGUMENT


class UnsupportedError(BasculeError):
    """A part of the protocol, or a format, that this installation does not serve."""

    code = Code.UNSUPPORTED


class EngineError(BasculeError):
    """The engine failed while it ran a batch; the message is the engine's, without paths."""

    code = Code.INTERNAL


class ModelLoadError(BasculeError):
    """A model cannot be loaded here; the message names the cause and the remedy."""

    code = Code.PREFLIGHT_FAILED

    def __init__(self, message: str, *, finding: str = "BP-R07") -> None:
        """Keep the message, and the code of preflight that stands for the cause."""
        super().__init__(message)
        self.finding = finding
