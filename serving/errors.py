"""Serving's branch of the error tree, and the one table from code to both wires.

::

    BasculeError (runtimes.errors)
    ├── NotFoundError          not_found: no such model, version, alias
    ├── IncompatibleError      preflight_failed: callers of the live version would break
    ├── UntrustedError         permission_denied: the registry's rules refuse a version
    ├── AlreadyExistsError     already_exists: a version is immutable
    ├── AlreadyRegisteredError already_registered: a shared-memory region of that name
    ├── PayloadTooLargeError   payload_too_large: over a size limit
    ├── UnsupportedCodingError unsupported_coding: a Content-Encoding that we do not read
    ├── QueueFullError         queue_full: nothing was executed, retry later
    ├── NoRoomError            no_room: the gRPC front desk holds as many bytes as it may
    ├── QueueTimeoutError      queue_timeout: the caller's or the policy's queue time passed
    ├── NotReadyError          not_ready: the version exists and cannot answer yet
    ├── DrainingError          draining: the process is on its way out
    ├── CancelledCallError     cancelled: the client left
    ├── DeadlineError          deadline_exceeded: late in the queue is late
    └── SlowRequestError       request_timeout: the request was not whole in time
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from runtimes.errors import BasculeError, Code


@dataclass(frozen=True, slots=True, kw_only=True)
class WireStatus:
    """How a code looks to clients: HTTP status, gRPC status number, and whether to try again."""

    http: int
    grpc: int
    retry: bool = False


WIRE: Final[MappingProxyType[Code, WireStatus]] = MappingProxyType(
    {
        Code.INVALID_ARGUMENT: WireStatus(http=400, grpc=3),
        Code.UNAUTHENTICATED: WireStatus(http=401, grpc=16),
        Code.PERMISSION_DENIED: WireStatus(http=403, grpc=7),
        Code.NOT_FOUND: WireStatus(http=404, grpc=5),
        Code.METHOD_NOT_ALLOWED: WireStatus(http=405, grpc=12),
        Code.ALREADY_EXISTS: WireStatus(http=409, grpc=6),
        Code.ALREADY_REGISTERED: WireStatus(http=400, grpc=6),
        Code.PAYLOAD_TOO_LARGE: WireStatus(http=413, grpc=8),
        Code.UNSUPPORTED_CODING: WireStatus(http=415, grpc=12),
        Code.PREFLIGHT_FAILED: WireStatus(http=422, grpc=9),
        Code.CANCELLED: WireStatus(http=499, grpc=1),
        Code.INTERNAL: WireStatus(http=500, grpc=13),
        Code.UNSUPPORTED: WireStatus(http=501, grpc=12),
        Code.QUEUE_FULL: WireStatus(http=503, grpc=14, retry=True),
        Code.NO_ROOM: WireStatus(http=503, grpc=8, retry=True),
        Code.QUEUE_TIMEOUT: WireStatus(http=503, grpc=14, retry=True),
        Code.NOT_READY: WireStatus(http=503, grpc=14, retry=True),
        Code.DRAINING: WireStatus(http=503, grpc=14, retry=True),
        Code.DEADLINE_EXCEEDED: WireStatus(http=504, grpc=4),
        Code.REQUEST_TIMEOUT: WireStatus(http=408, grpc=4),
    }
)


class NotFoundError(BasculeError):
    """No such model, version or alias."""

    code = Code.NOT_FOUND


class IncompatibleError(BasculeError):
    """The version breaks what callers of the live version rely on."""

    code = Code.PREFLIGHT_FAILED


class UntrustedError(BasculeError):
    """The registry's rules refuse a version: its signatures, or what loading it may do."""

    code = Code.PERMISSION_DENIED


class AlreadyExistsError(BasculeError):
    """The name is taken, and what it names never changes."""

    code = Code.ALREADY_EXISTS


class AlreadyRegisteredError(BasculeError):
    """A client's name is taken until the client gives it back."""

    code = Code.ALREADY_REGISTERED


class PayloadTooLargeError(BasculeError):
    """The message is over a size limit."""

    code = Code.PAYLOAD_TOO_LARGE


class UnsupportedCodingError(BasculeError):
    """The message is packed in a way that we do not read."""

    code = Code.UNSUPPORTED_CODING


class QueueFullError(BasculeError):
    """The queue's bound is reached; nothing was executed."""

    code = Code.QUEUE_FULL


class NoRoomError(BasculeError):
    """The messages that are held have as many bytes as they may; nothing was executed."""

    code = Code.NO_ROOM


class QueueTimeoutError(BasculeError):
    """The queue time that the caller or the policy allows has passed, or will; it did not run."""

    code = Code.QUEUE_TIMEOUT

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        """Keep the message, and when it makes sense to come back."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotReadyError(BasculeError):
    """The version exists, and cannot answer yet or any more."""

    code = Code.NOT_READY


class DrainingError(BasculeError):
    """The process is on its way out and takes no new calls."""

    code = Code.DRAINING


class CancelledCallError(BasculeError):
    """The client left before its call ran."""

    code = Code.CANCELLED


class DeadlineError(BasculeError):
    """The caller's deadline passed before its call ran."""

    code = Code.DEADLINE_EXCEEDED


class SlowRequestError(BasculeError):
    """The request was not whole when its time had passed."""

    code = Code.REQUEST_TIMEOUT
