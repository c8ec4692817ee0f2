"""From rows of a reference to a profile. Pure: the same rows and seed give the same profile."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from runtimes.errors import InvalidArgumentError
from serving.monitor.drift.autocorrelation import autocorrelation_time, is_noticeable
from serving.monitor.drift.block_sums import total
from serving.monitor.drift.calibration import Assumption, FalseAlarms, calibrate
from serving.monitor.drift.columns import (
    AnyArray,
    Column,
    IntArray,
    LevelColumn,
    NumberColumn,
    Role,
)
from serving.monitor.drift.deviation import baseline_of
from serving.monitor.drift.encoding import ColumnReference, Encoder, choose_pairs
from serving.monitor.drift.level_codec import LevelCodec, learn_levels, seen_once
from serving.monitor.drift.number_codec import TAIL_SHARE, NumberCodec, learn_numbers
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.reduction import axes_rows, learn_reduction, reduce_tensor
from serving.monitor.drift.storage import digest_of
from serving.monitor.drift.worlds import CorrelatedWorlds, IndependentWorlds

MIN_ROWS: Final = 32
MAX_ROWS: Final = 20_000
"""More rows make a reference no better than traffic is steady, and learning slow."""
MIN_TAIL_ROWS: Final = 5
COMMON_SHARE: Final = 0.05
"""Levels of a larger share are also looked at one by one: the stickiest counts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tensor:
    """A tensor of the reference's rows."""

    name: str
    role: Role
    values: AnyArray
    """Shape (rows, *dims)."""


def learn_tensors(
    tensors: Sequence[Tensor], *, is_ordered: bool, allowed: FalseAlarms | None = None
) -> Profile:
    """Learn how tensors become columns, then as `learn_profile`.

    Axes of wide tensors fit the rows that they are learnt from better than any others. So those
    rows, the first quarter, are not part of the reference then.
    """
    seed = (allowed or FalseAlarms()).seed
    reductions = [learn_reduction(t.name, t.role, t.values, seed) for t in tensors]
    skipped = axes_rows(len(tensors[0].values)) if any(r.axes for r in reductions) else 0
    columns = [
        column
        for reduction, tensor in zip(reductions, tensors, strict=True)
        for column in reduce_tensor(reduction, tensor.values[skipped:])
    ]
    profile = learn_profile(columns, is_ordered=is_ordered, allowed=allowed)
    profile = replace(profile, reductions=reductions)
    return profile.with_digest(digest_of(profile))


def learn_profile(
    columns: Sequence[Column], *, is_ordered: bool, allowed: FalseAlarms | None = None
) -> Profile:
    """Learn a reference, and calibrate its monitor.

    Args:
        columns: The reference's rows. Of more than `MAX_ROWS` the last ones count if they are in
            order, else some that are evenly spread.
        is_ordered: Whether they are in the order of time.
        allowed: How often the monitor may alarm without cause.

    Raises:
        InvalidArgumentError: There are no columns, or too few rows for any statement.
    """
    allowed = allowed or FalseAlarms()
    rows = len(columns[0].values) if columns else 0
    if rows < MIN_ROWS:
        raise InvalidArgumentError(
            f"a reference of {len(columns)} columns and {rows} rows says nothing about drift: "
            f"it needs at least {MIN_ROWS} rows, better 5,000"
        )
    if rows > MAX_ROWS:
        columns = [_fewer(column, is_ordered=is_ordered) for column in columns]
        rows = len(columns[0].values)
    known = [_learn_column(column) for column in columns]
    pairs = choose_pairs(known, allowed.seed)
    hidden = {c.name: seen_once(c.values) for c in columns if isinstance(c, LevelColumn)}
    encoder = Encoder(known, pairs, hidden)
    scales = np.array([c.scale for c in encoder.components], dtype=np.float32)
    encoded = encoder.encode(columns)
    components = encoder.row_components(encoded) / scales
    is_flag = np.array([c.is_flag for c in encoder.components])
    baseline = baseline_of(components.astype(np.float64), is_flag)
    times = [_time_of(encoder, place, column) for place, column in enumerate(columns)]
    largest = max(times) if is_ordered else 1.0
    worlds: CorrelatedWorlds | IndependentWorlds = IndependentWorlds(components)
    if is_noticeable(largest, rows):
        worlds = CorrelatedWorlds(encoder, columns, times)
    else:
        largest = 1.0
    profile = Profile(
        reductions=(),
        columns=known,
        pairs=pairs,
        baseline=baseline,
        bins=total(encoder.blocks(encoded, "")).bins,
        calibration=calibrate(worlds, baseline, allowed, largest).without(
            _undecided(encoder, rows / largest, is_correlated=largest > 1.0)
        ),
        assumption=_assumption(is_ordered=is_ordered, is_correlated=largest > 1.0),
        autocorrelation_time=largest,
        allowed=allowed,
        digest="",
    )
    return profile.with_digest(digest_of(profile))


def _undecided(encoder: Encoder, effective_rows: float, *, is_correlated: bool) -> IntArray:
    """Return the components that no alarm is raised for.

    The levels that have a component of their own were chosen by their shares in the reference, so
    these are too high there together, and that of the others is too low. And where rows depend on
    one another, a few independent rows in the tails say nothing about how often there are some.
    """
    skipped = {"other"}
    if is_correlated and 2 * TAIL_SHARE * effective_rows < MIN_TAIL_ROWS:
        skipped.add("outside")
    return np.flatnonzero([c.is_flag and c.statistic in skipped for c in encoder.components])


def _fewer(column: Column, *, is_ordered: bool) -> Column:
    rows = len(column.values)
    chosen = slice(rows - MAX_ROWS, None) if is_ordered else slice(None, None, -(-rows // MAX_ROWS))
    if isinstance(column, NumberColumn):
        return replace(column, values=column.values[chosen])
    return replace(column, values=column.values[chosen])


def _learn_column(column: Column) -> ColumnReference:
    if isinstance(column, NumberColumn):
        return learn_numbers(column.name, column.role, column.values)
    return learn_levels(column.name, column.role, column.values)


def _time_of(encoder: Encoder, place: int, column: Column) -> float:
    """Return a column's autocorrelation time: of its normal scores, or of its levels' flags."""
    codec = encoder.codecs[place]
    if isinstance(codec, NumberCodec) and isinstance(column, NumberColumn):
        scores = codec.scores[codec.slots(column.values)].astype(np.float64)
        missing = np.isnan(column.values).astype(np.float64)
        return max(autocorrelation_time(scores[:, None]), autocorrelation_time(missing[:, None]))
    if isinstance(codec, LevelCodec) and isinstance(column, LevelColumn):
        flags = codec.table[codec.slots(column.values), : codec.flag_count].astype(np.float64)
        common = flags.T[flags.mean(axis=0) > COMMON_SHARE]
        together = autocorrelation_time(flags)
        return max(together, *[autocorrelation_time(one[:, None]) for one in common], 1.0)
    return 1.0


def _assumption(*, is_ordered: bool, is_correlated: bool) -> Assumption:
    if not is_ordered:
        return Assumption.IID_ASSUMED
    return Assumption.AUTOCORRELATED if is_correlated else Assumption.INDEPENDENT
