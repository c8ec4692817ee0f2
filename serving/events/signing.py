"""Signatures of requests to receivers, by the convention of Standard Webhooks (1.0.0). Pure.

The signature is the HMAC-SHA256 of `id.timestamp.body`. A receiver computes it with the secret that
it shares with us, compares in constant time, and refuses old timestamps: so nobody else can send,
change or repeat an event.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from runtimes.errors import InvalidArgumentError

PREFIX: Final = "whsec_"
LEAST_BYTES: Final = 24
MOST_BYTES: Final = 64
MOST_SECRETS: Final = 4


@dataclass(frozen=True, slots=True)
class Secret:
    """A key shared with a receiver. It is never printed."""

    key: bytes = field(repr=False)


def parse_secrets(text: str, source: str) -> tuple[Secret, ...]:
    """Read secrets, one a line; with more than one every request carries a signature of each.

    That is how a secret is exchanged: add the new one, tell the receiver, remove the old one.

    Args:
        text: `whsec_` and base64 of 24 to 64 bytes; the prefix may be left out.
        source: What to call it in messages: they never repeat a secret.

    Raises:
        InvalidArgumentError: There is none, or one is of another form.
    """
    lines = [line.strip() for line in text.splitlines()]
    found = tuple(_secret(line, source) for line in lines if line and not line.startswith("#"))
    if not 0 < len(found) <= MOST_SECRETS:
        raise InvalidArgumentError(
            f"{source} holds {len(found)} secrets: 1 to {MOST_SECRETS}, one a line, such as "
            "`openssl rand -base64 32` makes"
        )
    return found


def signed_headers(
    uid: str, timestamp_s: int, body: bytes, secrets: Sequence[Secret]
) -> dict[str, str]:
    """Return the headers that prove who sends a body, and when.

    Args:
        uid: The event's id.
        timestamp_s: Seconds since 1970.
        body: What is sent, byte by byte.
        secrets: Shared with the receiver; one signature each.
    """
    signed = f"{uid}.{timestamp_s}.".encode() + body
    return {
        "webhook-id": uid,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{_mac(one, signed)}" for one in secrets),
    }


def _mac(secret: Secret, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(secret.key, signed, hashlib.sha256)).decode()


def _secret(line: str, source: str) -> Secret:
    try:
        key = base64.b64decode(line.removeprefix(PREFIX), validate=True)
    except ValueError as error:  # binascii.Error, or what ASCII has no sign for
        raise InvalidArgumentError(
            f"{source}: a line is no base64: write what `openssl rand -base64 32` makes"
        ) from error
    if not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise InvalidArgumentError(
            f"{source}: a secret has {len(key)} bytes: {LEAST_BYTES} to {MOST_BYTES}, as "
            "`openssl rand -base64 32` makes them"
        )
    return Secret(key)
