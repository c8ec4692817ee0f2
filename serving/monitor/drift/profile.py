"""What a monitor of drift knows of a version: its reference, in components, and when to alarm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from serving.monitor.drift.calibration import Assumption, Calibration, FalseAlarms
from serving.monitor.drift.columns import AnyArray, Column, IntArray
from serving.monitor.drift.deviation import Baseline
from serving.monitor.drift.encoding import ColumnReference, Encoder
from serving.monitor.drift.reduction import Reduction, reduce_tensor

MIN_PAGING_ROWS: Final = 500
"""With a smaller reference no alarm is more than a note."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Profile:
    """A reference, learnt."""

    reductions: Sequence[Reduction]
    """How tensors become columns; none where the columns were given."""
    columns: Sequence[ColumnReference]
    pairs: Sequence[tuple[int, int]]
    baseline: Baseline
    bins: IntArray
    """The reference's rows in each bin of each column. Shape (bins,)."""
    calibration: Calibration
    assumption: Assumption
    autocorrelation_time: float
    """The largest of the columns'."""
    allowed: FalseAlarms
    digest: str
    """Of all that decides: sums made with other digests do not add up."""

    def with_digest(self, digest: str) -> "Profile":
        """Return it with its digest."""
        return replace(self, digest=digest)

    def columns_of(self, tensors: Mapping[str, AnyArray]) -> list[Column]:
        """Reduce the tensors of some rows; a tensor that is not there is missing.

        Args:
            tensors: Inputs and outputs by name. Shape (rows, *dims) each, equal rows.
        """
        rows = max((len(values) for values in tensors.values()), default=0)
        absent = np.empty((rows, 0))
        return [
            column
            for reduction in self.reductions
            for column in reduce_tensor(reduction, tensors.get(reduction.tensor, absent))
        ]

    @property
    def encoder(self) -> Encoder:
        """Make an encoder of rows."""
        return Encoder(self.columns, self.pairs)
