"""Sums over rows: all that replicas tell of what they saw. They add up exactly, in any order.

Sums are of whole numbers, so three replicas' sums are bit for bit those of one that has seen all
rows. What was made with another reference cannot be added: the digest says which one it was.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from runtimes.errors import InvalidArgumentError
from serving.monitor.drift.columns import IntArray

BLOCK_ROWS: Final = 64
"""Decisions are made after so many rows, at the most often."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockSums:
    """Sums over some rows of one version."""

    digest: str
    """Of the profile by which rows were encoded."""
    rows: int
    components: IntArray
    """Shape (components,)."""
    bins: IntArray
    """Rows in each bin of each column. Shape (bins,)."""

    def __add__(self, other: "BlockSums") -> "BlockSums":
        """Return the sums over both.

        Raises:
            InvalidArgumentError: They were made with different profiles.
        """
        if self.digest != other.digest:
            raise InvalidArgumentError(
                f"sums of drift profile {other.digest[:12]} cannot be added to those of "
                f"{self.digest[:12]}: both replicas need the same bundle"
            )
        return BlockSums(
            digest=self.digest,
            rows=self.rows + other.rows,
            components=self.components + other.components,
            bins=self.bins + other.bins,
        )


def total(blocks: Iterable[BlockSums]) -> BlockSums:
    """Add up the sums of several replicas, or of several blocks; there is at least one."""
    first, *others = blocks
    for other in others:
        first = first + other
    return first
