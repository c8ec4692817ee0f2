"""What makes watching cheap says what the plain way says: searches, sums, windows, limits."""

from functools import cache

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.monitor.drift.block_sums import BLOCK_ROWS, BlockSums
from serving.monitor.drift.columns import FloatArray, LevelColumn, NumberColumn, Role
from serving.monitor.drift.detector import Detector
from serving.monitor.drift.deviation import deviations, limits
from serving.monitor.drift.level_codec import LevelCodec, learn_levels
from serving.monitor.drift.number_codec import NumberCodec, learn_numbers
from serving.monitor.drift.number_search import NumberSearch
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.windows import WINDOWS, RunningSums, window_sums
from tests.fakes.drift_rows import blocks_of, drawn_columns, learnt, numbers_of, with_numbers

ANY_NUMBER = st.floats(allow_nan=True, allow_infinity=True)
MOST = float(np.finfo(np.float64).max)
FEW_NUMBERS = st.sampled_from(
    [0.0, -0.0, 1.0, 1.0 + 1e-15, 2.0, 1e300, -1e-300, MOST, -MOST, np.nan, np.inf]
)
COLUMN = st.lists(ANY_NUMBER | FEW_NUMBERS, min_size=1, max_size=60)


@cache
def reference() -> Profile:
    """One reference for all tests."""
    return learnt(500)


def codec_of(values: FloatArray) -> NumberCodec:
    """Learn a column and make its codec."""
    return NumberCodec(learn_numbers("a", Role.INPUT, values))


@given(st.lists(COLUMN, min_size=1, max_size=4), COLUMN)
@example([[1e300, MOST], [1e300, -MOST], [-MOST, MOST]], [0.0])
def test_columns_are_searched_together_as_one_by_one(
    learnt_from: list[list[float]], numbers: list[float]
) -> None:
    """Whatever was learnt and comes, a number's slot is that of a binary search of its column."""
    codecs = [codec_of(np.array(one)) for one in learnt_from]
    search = NumberSearch([codec.grid for codec in codecs])
    # What was learnt comes too: numbers that are points of a grid are the ones to get wrong.
    rows = [np.array([*numbers, *one])[: len(numbers) + 1] for one in learnt_from]

    found = search.slots(np.array(rows)) - search.slot_starts[:-1, None]

    assert found.tolist() == [c.slots(r).tolist() for c, r in zip(codecs, rows, strict=True)]


@pytest.mark.parametrize("spread", [0.1, 3.0], ids=["narrow", "heavy tails"])
def test_many_numbers_are_found(spread: float) -> None:
    """Where most numbers share few buckets, and where none do, slots are the same."""
    drawn = np.exp(np.random.default_rng(1).standard_normal(5_000) * spread)
    codec = codec_of(drawn[:2_000])

    found = NumberSearch([codec.grid]).slots(drawn[None])[0]

    assert (found == codec.slots(drawn)).all()


@given(st.integers(1, 3 * BLOCK_ROWS), st.integers(0, 99))
def test_sums_are_those_of_rows(rows: int, seed: int) -> None:
    """Sums over blocks are, bit for bit, what their rows say one by one."""
    columns = drawn_columns(seed, rows)
    values = numbers_of(columns, "c")
    values[::7] = np.nan
    columns = with_numbers(columns, "c", values)
    encoder = reference().encoder
    encoded = encoder.encode(columns)
    single = encoder.row_components(encoded).astype(np.int64)

    blocks = encoder.blocks(encoded, "")

    ends = [*range(BLOCK_ROWS, rows, BLOCK_ROWS), rows]
    assert [block.rows for block in blocks] == np.diff([0, *ends]).tolist()
    for end, block in zip(ends, blocks, strict=True):
        assert (single[end - block.rows : end].sum(axis=0) == block.components).all()
        assert block.bins.sum() == block.rows * len(columns)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=60), st.booleans())
def test_windows_do_not_depend_on_portions(portions: list[int], is_even: bool) -> None:  # noqa: FBT001
    """Blocks pushed in portions have the windows that all of them have together."""
    rng = np.random.default_rng(sum(portions))
    rows = [BLOCK_ROWS if is_even else int(rng.integers(1, 200)) for _ in range(sum(portions))]
    blocks = [
        BlockSums(digest="", rows=each, components=rng.integers(-9, 9, 3), bins=np.array([each]))
        for each in rows
    ]
    running = RunningSums(3)
    parts, at = [], 0
    for portion in portions:
        parts.append(running.push(blocks[at : at + portion]))
        at += portion
    sums = np.cumsum([np.zeros(3), *(block.components for block in blocks)], axis=0)
    whole = window_sums(np.cumsum([0, *rows]), sums, 1, WINDOWS)

    found_rows = np.concatenate([part.rows for part in parts])
    is_there = found_rows > 0
    assert (found_rows == whole.rows).all()
    assert (np.concatenate([part.sums for part in parts])[is_there] == whole.sums[is_there]).all()
    last = parts[-1]
    for place in np.flatnonzero(last.rows[-1]).tolist():
        bins = running.window_bins(int(last.starts[-1, place]), 0)
        assert bins.tolist() == [last.rows[-1, place]]


def test_limits_are_where_deviations_pass_the_bound() -> None:
    """A sum is beyond its limits exactly if its deviation is beyond the bound."""
    baseline, scales = (
        reference().baseline,
        np.array(
            [component.scale for component in reference().encoder.components], dtype=np.float64
        ),
    )
    rows = np.array(WINDOWS)
    bounds = reference().calibration.units * reference().calibration.threshold
    found = limits(rows, bounds, scales, baseline)
    drawn = np.random.default_rng(2).uniform(-1.2, 1.2, (500, *bounds.shape))
    is_flag = np.isin(np.arange(len(scales)), baseline.flags)
    means = np.where(is_flag, np.abs(drawn), drawn)
    sums = np.rint(means * rows[:, None] * scales)

    is_over = (sums > found.high) | (sums < found.low)

    seen = deviations(sums / rows[:, None] / scales, rows, baseline)
    assert (is_over == (np.abs(seen) > bounds)).all()
    assert is_over.any()


def test_scores_are_told_without_an_alarm() -> None:
    """Every component has a score after any block; none is over the threshold without an alarm."""
    detector = Detector(reference())
    assert not detector.component_scores.any()

    assert not detector.push(blocks_of(reference(), drawn_columns(2, 640)))

    assert 0.0 < detector.component_scores.max() <= reference().calibration.threshold


def test_levels_that_change_places_show_in_their_contrast() -> None:
    """The flag of one level less that of another has a component between frequent levels."""
    levels = [b"x"] * 5 + [b"y"] * 3 + [b"z"]
    codec = LevelCodec(learn_levels("level", Role.INPUT, levels))
    column = LevelColumn(name="level", values=[b"x", b"y", b"z", b"new", b"\xff", b""])

    found = codec.table[codec.slots(column.values)]

    assert codec.contrasts == ((0, 1), (0, 2), (1, 2))
    assert found[:, codec.flag_count].tolist() == [1, -1, 0, 0, 0, 0]
    assert found[:, : codec.flag_count].sum(axis=1).tolist() == [1, 1, 1, 1, 2, 1]


def test_a_tie_is_in_the_middle() -> None:
    """A value that the reference has often has the mean of its ranks."""
    column = NumberColumn(name="a", values=np.array([0.0, 1.0, 1.0, 1.0, 2.0]))
    codec = codec_of(column.values)

    assert codec.scores[codec.slots(np.array([1.0]))].tolist() == [0.0]
