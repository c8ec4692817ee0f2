"""Several workers' sums: they add up exactly, in any order, heard once or often."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.monitor.drift.alarm_book import AlarmBook
from serving.monitor.drift.block_sums import BlockSums, total
from serving.monitor.drift.columns import Column, NumberColumn
from serving.monitor.drift.merging import MergedStream, TimedBlock
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.stream import KEPT_RECORDS, DriftReport, RunningTotal, SumsRecord
from serving.monitor.drift.view import DriftAlarm, WatchState
from serving.monitor.drift.watched import WatchedVersion
from tests.fakes.drift_rows import blocks_of, drawn_columns, learnt, numbers_of, with_numbers


@cache
def _profile() -> Profile:
    return learnt()


@cache
def _blocks() -> tuple[BlockSums, ...]:
    """A stream of rows whose column `a` moves by half a standard deviation in the middle."""
    columns = drawn_columns(5, 4_096)
    moved = numbers_of(columns, "a")
    moved[2_048:] += 0.5
    return tuple(blocks_of(_profile(), with_numbers(columns, "a", moved)))


def _report(epoch: str, records: RunningTotal, digest: str = "") -> DriftReport:
    return DriftReport(
        model="m",
        version=1,
        digest=digest or _profile().digest,
        epoch=epoch,
        records=records.after(0),
    )


def _told(owners: Sequence[int], blocks: Sequence[BlockSums]) -> list[DriftReport]:
    """Let workers see the blocks that are theirs, one block a second."""
    totals = {owner: RunningTotal(f"w{owner}") for owner in set(owners)}
    for second, (owner, block) in enumerate(zip(owners, blocks, strict=True)):
        totals[owner].add(block, float(second))
    return [_report(one.epoch, one) for one in totals.values()]


def _sums(blocks: Sequence[TimedBlock]) -> list[tuple[int, list[int], list[int]]]:
    sums = [block.sums for block in blocks]
    return [(one.rows, one.components.tolist(), one.bins.tolist()) for one in sums]


@given(
    owners=st.lists(st.integers(0, 4), min_size=20, max_size=20),
    order=st.permutations(range(5)),
    repeats=st.integers(1, 3),
)
def test_whoever_saw_a_block_the_merged_stream_is_that_of_one_worker(
    owners: list[int], order: list[int], repeats: int
) -> None:
    """Block for block and bit for bit, whichever report is heard first, and how often."""
    blocks = _blocks()[:20]
    reports = _told(owners, blocks) * repeats
    shuffled = sorted(reports, key=lambda one: order[int(one.epoch[1:])])
    alone = MergedStream(_profile().digest).take(_told([0] * 20, blocks))

    merged = MergedStream(_profile().digest)
    found = merged.take(shuffled)

    assert _sums(found) == _sums(alone)
    assert merged.take(shuffled) == []


@given(data=st.data())
def test_sums_are_whole_however_reports_come_in(data: st.DataObject) -> None:
    """Prefixes, late ones, gaps and repeats: once all was heard, the sum is that of all rows."""
    blocks = _blocks()[:16]
    totals = [RunningTotal("w0"), RunningTotal("w1")]
    heard: list[DriftReport] = []
    for second, block in enumerate(blocks):
        owner = totals[data.draw(st.integers(0, 1))]
        owner.add(block, float(second))
        if data.draw(st.booleans()):
            heard.append(_report(owner.epoch, owner))
    first = [_report(one.epoch, one) for one in totals]
    merged = MergedStream(_profile().digest)
    found = merged.take(first[: data.draw(st.integers(0, 2))])
    for report in data.draw(st.permutations(heard)):
        found += merged.take([report])
    found += merged.take(first)

    everything, expected = total(block.sums for block in found), total(blocks)
    assert everything.rows == expected.rows
    np.testing.assert_array_equal(everything.components, expected.components)
    np.testing.assert_array_equal(everything.bins, expected.bins)


def _alarms(reports: Sequence[DriftReport]) -> tuple[DriftAlarm, ...]:
    watched = WatchedVersion(_profile(), AlarmBook("m v1"))
    watched.take(reports, 100.0)
    return watched.book.alarms


def test_two_workers_together_say_what_one_would_that_saw_all_rows() -> None:
    """The same alarms with the same evidence: the decision is one, made on the sums."""
    blocks = _blocks()
    owners = np.random.default_rng(3).integers(2, size=len(blocks)).tolist()
    together, alone = _alarms(_told(owners, blocks)), _alarms(_told([0] * len(blocks), blocks))

    assert together == alone
    assert together[-1].feature == "a"
    assert together[-1].evidence["at_row"] > 2_048


def test_few_rows_wait_until_there_are_enough_for_a_decision() -> None:
    """Three workers that saw 30 rows each make one block of 90, no sooner."""
    columns = drawn_columns(6, 90)
    parts = [blocks_of(_profile(), _rows(columns, slice(at, at + 30))) for at in (0, 30, 60)]
    totals = [RunningTotal(f"w{place}") for place in range(3)]
    for place, (block,) in enumerate(parts):
        totals[place].add(block, float(place))
    merged = MergedStream(_profile().digest)

    assert merged.take([_report("w0", totals[0]), _report("w1", totals[1])]) == []
    (whole,) = merged.take([_report("w2", totals[2])])
    assert (whole.sums.rows, whole.at_s) == (90, 2.0)


def _rows(columns: Sequence[Column], chosen: slice) -> list[Column]:
    part: list[Column] = []
    for column in columns:
        if isinstance(column, NumberColumn):
            part.append(replace(column, values=column.values[chosen]))
        else:
            part.append(replace(column, values=column.values[chosen]))
    return part


def test_another_references_sums_are_left_aside_and_said() -> None:
    """They cannot be added: the version is watched by the others, and says what is the matter."""
    own, strange = RunningTotal("w0"), RunningTotal("w1")
    for second, block in enumerate(_blocks()[:4]):
        own.add(block, float(second))
        strange.add(block, float(second))
    watched = WatchedVersion(_profile(), AlarmBook("m v1"))
    watched.take([_report("w0", own), _report("w1", strange, digest="f" * 64)], 4.0)

    view = watched.view("m", 1, 4.0)
    assert (view.rows, view.worker_count, view.state) == (256, 1, WatchState.WATCHING)
    assert "ffffffffffff" in view.reason
    watched.take([_report("w1", strange, digest="f" * 64)], 5.0)
    assert watched.view("m", 1, 5.0).state is WatchState.FAILED
    assert "ffffffffffff" in watched.failure


def test_a_controller_that_starts_late_goes_on_from_what_workers_still_know() -> None:
    """Blocks that no worker can tell apart any more are left out, and nothing is counted twice."""
    worker = RunningTotal("w0")
    blocks = [*_blocks(), *_blocks()]
    for second, block in enumerate(blocks):
        worker.add(block, float(second))
    merged = MergedStream(_profile().digest)

    assert len(merged.take([_report("w0", worker)])) == KEPT_RECORDS - 1


@pytest.mark.parametrize("lost", [1, 5])
def test_what_was_lost_on_the_way_is_in_the_next_record(lost: int) -> None:
    """A gap makes a larger block: rows are never lost, only told apart less finely."""
    worker = RunningTotal("w0")
    for second, block in enumerate(_blocks()[:8]):
        worker.add(block, float(second))
    merged = MergedStream(_profile().digest)
    whole = _report("w0", worker)
    merged.take([_with(whole, whole.records[:1])])
    found = merged.take([_with(whole, whole.records[1 + lost :])])

    assert [block.sums.rows for block in found] == [64 * (lost + 1)] + [64] * (6 - lost)
    assert merged.lost_blocks == lost


def _with(report: DriftReport, records: Sequence[SumsRecord]) -> DriftReport:
    return replace(report, records=tuple(records))
