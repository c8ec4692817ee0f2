"""Names and keys: parse, compare, print; nothing else."""

import re
from dataclasses import dataclass
from typing import Final

from runtimes.errors import InvalidArgumentError

# No `/` (clients do not escape it), no control characters (they would reach a header), no leading
# dot (a path), and no halves of characters (a folder's bytes that are no UTF-8 are read as these).
MODEL_NAME: Final = re.compile(
    r"[^\x00-\x1f\x7f/\\.|\ud800-\udfff][^\x00-\x1f\x7f/\\|\ud800-\udfff]{0,254}"
)
RESERVED_MODEL_NAMES: Final = frozenset({"stats"})  # `/v2/models/stats` is a route of its own
MAX_VERSION: Final = 2**63 - 1
ALIAS_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
LIVE: Final = "live"
"""The alias that a promotion sets; nothing else does."""


@dataclass(frozen=True, slots=True, order=True)
class VersionKey:
    """A version of a model: what routes, pools and statistics are keyed by."""

    model: str
    version: int

    def __str__(self) -> str:
        """Print as operators write it: `model:version`."""
        return f"{self.model}:{self.version}"


def model_name(text: str) -> str:
    """Return a model's name if it is one.

    Raises:
        InvalidArgumentError: It is empty, too long, reserved, or has a character that cannot be
            routed.
    """
    if text in RESERVED_MODEL_NAMES:
        raise InvalidArgumentError(f"model name '{text}' is reserved: choose another name")
    if not MODEL_NAME.fullmatch(text):
        raise InvalidArgumentError(
            f"invalid model name {text[:80]!r}: 1 to 255 characters, none of them a control "
            "character, '/', '\\' or '|', and no leading '.', and it is UTF-8"
        )
    return text


def version_number(text: str) -> int:
    """Return a version's number: a positive integer in decimal.

    Raises:
        InvalidArgumentError: It is not a positive 64-bit integer.
    """
    number = natural(text) if text.isascii() and text.isdigit() else 0
    if not 0 < number <= MAX_VERSION:
        raise InvalidArgumentError(
            f"invalid version '{text[:40]}': a positive integer up to {MAX_VERSION} is expected"
        )
    return number


def natural(digits: str) -> int:
    """Return a number in decimal digits; of one with more than 20, its first 20 without zeros.

    So it is above every bound of 64 bits if it should be: Python refuses to read thousands of
    digits, and counts zeros in front, too.
    """
    return int(digits.lstrip("0")[:20] or "0")


def version_key(text: str) -> VersionKey:
    """Parse `model:version`.

    Raises:
        InvalidArgumentError: There is no version, or one of the parts is invalid.
    """
    name, colon, version = text.rpartition(":")
    if not colon:
        raise InvalidArgumentError(f"'{text}' names no version: write it as MODEL:VERSION")
    return VersionKey(model_name(name), version_number(version))


def alias_name(text: str) -> str:
    """Return the name of an alias if it is one that may be set.

    Raises:
        InvalidArgumentError: It is `live`, or not of an alias's form.
    """
    if text == LIVE:
        raise InvalidArgumentError("alias 'live' is what `bascule promote` sets: use that")
    if not ALIAS_NAME.fullmatch(text):
        raise InvalidArgumentError(
            f"invalid alias '{text[:80]}': a small letter, then up to 63 small letters, digits, "
            "'.', '_' or '-'"
        )
    return text
