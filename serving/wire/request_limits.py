"""Fast path. How many things one request may name; both wires ask here, before they take memory."""

from typing import Final

from runtimes.errors import InvalidArgumentError

MAX_ENTRIES: Final = 4096
"""Inputs, listed outputs, or parameters of one request or tensor."""
MAX_RANK: Final = 64
"""Dimensions of a shape: numpy's own limit."""
MAX_TEXTS: Final = 1 << 22
"""Elements of a BYTES tensor: each becomes an object of some 50 bytes, whatever it took to send."""

LARGE_BYTES: Final = 1 << 20
"""Elements that take more to send are decoded only if they can fit: a worker decodes one request
after the other, and what is decoded may take forty times its size."""
MAX_LOOSE_BYTES: Final = 1 << 23
"""JSON that no strict parser reads is read value by value up to this size."""


def refuse_count(field: str, count: int) -> None:
    """Refuse a request with too many entries of one kind.

    Raises:
        InvalidArgumentError: There are more than `MAX_ENTRIES`.
    """
    if count > MAX_ENTRIES:
        raise InvalidArgumentError(
            f"Unable to parse '{field}': {count} entries exceed the maximum of {MAX_ENTRIES}"
        )


def refuse_texts(name: str, count: int) -> None:
    """Refuse a BYTES tensor of too many elements.

    Raises:
        InvalidArgumentError: There are more than `MAX_TEXTS`.
    """
    if count > MAX_TEXTS:
        raise InvalidArgumentError(
            f"input '{name[:80]}' has {count} BYTES elements, the maximum is {MAX_TEXTS}: send "
            "fewer rows per call"
        )


def refuse_rank(name: str, rank: int) -> None:
    """Refuse a shape of too many dimensions.

    Raises:
        InvalidArgumentError: There are more than `MAX_RANK`.
    """
    if rank > MAX_RANK:
        raise InvalidArgumentError(
            f"Unable to parse 'shape': input '{name[:80]}' has {rank} dimensions, the maximum is "
            f"{MAX_RANK}"
        )
