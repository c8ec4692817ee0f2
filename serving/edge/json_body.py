"""Reads the JSON body of a call to the front desk: within its limits, before memory is taken.

Calls that carry tensors or files may have `MAX_BODY_BYTES`, or the instance's own limit if that is
lower, all others `SMALL_BODY_BYTES`, and all that are being read `MAX_BODIES_BYTES` together, so
that many slow senders cost no more than that; one that is not whole after `BODY_S` is refused. A
size that was announced, HAProxy has compared with the instance's limit; one that comes in chunks is
measured here.
"""

import asyncio
from typing import Final

import msgspec
from starlette.requests import ClientDisconnect, Request

from runtimes.errors import InvalidArgumentError
from serving.errors import (
    CancelledCallError,
    PayloadTooLargeError,
    QueueFullError,
    SlowRequestError,
)

MAX_BODY_BYTES: Final = 64 << 20
SMALL_BODY_BYTES: Final = 1 << 20
MAX_BODIES_BYTES: Final = 256 << 20
BODY_S: Final = 120.0
"""The largest body by a line of 5 Mbit/s takes 107 s."""
MAX_DEPTH: Final = 100
MAX_VALUES: Final = 1 << 20
"""Each becomes an object of up to some hundred bytes, and the loop stands still meanwhile."""
PACKED: Final = "Unsupported content-encoding, only 'identity' is supported."
LEFT: Final = "the client left before its request was whole"


class BodyReader:
    """Reads bodies, as long as all that are being read fit together."""

    def __init__(
        self,
        max_bytes: int = MAX_BODIES_BYTES,
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        limit_s: float = BODY_S,
    ) -> None:
        """Begin with none.

        Args:
            max_bytes: What all may have together.
            max_body_bytes: The instance's limit of one.
            limit_s: The time that one may take.
        """
        self._limit_s = limit_s
        self._max_bytes = max_bytes
        self.max_body_bytes = min(max_body_bytes, MAX_BODY_BYTES)
        self._used_bytes = 0

    async def read(self, request: Request, limit_bytes: int) -> bytearray:
        """Read a whole body of so many bytes at most.

        Raises:
            InvalidArgumentError: It is compressed.
            PayloadTooLargeError: It is over the limit of one body.
            QueueFullError: All bodies together are over theirs.
            SlowRequestError: It is not whole in time.
            CancelledCallError: Its client left: nobody reads the answer.
        """
        if request.headers.get("content-encoding", "").strip().lower() not in {"", "identity"}:
            raise InvalidArgumentError(PACKED)
        body = bytearray()
        try:
            async with asyncio.timeout(self._limit_s):
                async for chunk in request.stream():
                    body += chunk
                    self._used_bytes += len(chunk)
                    self._check(len(body), min(limit_bytes, self.max_body_bytes))
        except ClientDisconnect as error:
            raise CancelledCallError(LEFT) from error
        except TimeoutError as error:
            raise too_slow(self._limit_s, f"{len(body)} bytes of its body came") from error
        finally:
            self._used_bytes -= len(body)
        return body

    def _check(self, size_bytes: int, limit_bytes: int) -> None:
        if size_bytes > limit_bytes:
            raise PayloadTooLargeError(
                f"body larger than max ({size_bytes} vs. {limit_bytes} bytes)"
            )
        if self._used_bytes > self._max_bytes:
            raise QueueFullError(
                f"{self._used_bytes} bytes of bodies are being received, {self._max_bytes} at "
                "most: retry"
            )


def too_slow(limit_s: float, what_came: str) -> SlowRequestError:
    """Say that a request was not whole in time."""
    return SlowRequestError(
        f"the request did not arrive within {limit_s:g} s, {what_came}: call again, and send it "
        "without a pause"
    )


async def json_object(
    reader: BodyReader, request: Request, limit_bytes: int = SMALL_BODY_BYTES
) -> dict[str, object]:
    """Read the JSON object of a body; an empty body is an empty object.

    Raises:
        InvalidArgumentError: It is compressed, not JSON, no object, or nested too deeply.
        PayloadTooLargeError: It is over the limit of one body.
        QueueFullError: All bodies together are over theirs.
        SlowRequestError: It is not whole in time.
        CancelledCallError: Its client left.
    """
    body = await reader.read(request, limit_bytes)
    if not body.strip():
        return {}
    value_count = sum(body.count(sign) for sign in (b",", b"[", b"{"))  # lists may have lists alone
    if value_count > MAX_VALUES:
        raise InvalidArgumentError(
            f"the request's JSON has {value_count} commas and brackets, the maximum is "
            f"{MAX_VALUES}: send large tensors to /infer as binary data"
        )
    try:
        parsed = msgspec.json.decode(body)
    except RecursionError as error:
        raise InvalidArgumentError(
            f"JSON nesting depth exceeds maximum allowed limit ({MAX_DEPTH})"
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"failed to parse the request JSON buffer: {error}") from error
    if not isinstance(parsed, dict):
        raise InvalidArgumentError("failed to parse the request JSON buffer: no object at 0")
    refuse_depth(parsed)
    return parsed


def refuse_depth(value: object) -> None:
    """Refuse a value that is nested more than `MAX_DEPTH` deep, without recursion.

    Raises:
        InvalidArgumentError: It is.
    """
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH + 1:
            raise InvalidArgumentError(
                f"JSON nesting depth exceeds maximum allowed limit ({MAX_DEPTH})"
            )
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
