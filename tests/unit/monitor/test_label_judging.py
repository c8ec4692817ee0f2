"""The drop alert's evidence: each row is judged once, whichever rows a look reads."""

from dataclasses import replace

import numpy as np
import pytest

from serving.monitor.labels import judging
from serving.monitor.labels.drop import DropState, drop_of
from serving.monitor.labels.judging import Judged, judged_rows, reference_of
from serving.monitor.labels.rows import Rows
from tests.unit.monitor.test_label_figures import rows_of

STEADY = 0.05


def rows_with(*parts: tuple[int, float], seed: int = 1) -> Rows:
    """Rows a second apart: so many with this share of errors, then so many with that."""
    chance = np.concatenate([np.full(count, share) for count, share in parts])
    is_bad = np.random.default_rng(seed).random(len(chance)) < chance
    return rows_of([0.0] * len(chance), is_bad.astype(float).tolist())


def seen(rows: Rows, *looks: slice) -> Judged:
    """What is known after these looks."""
    reference = reference_of(rows)
    known: Judged | None = None
    assert reference is not None
    for look in looks:
        known = judged_rows(rows.taken(look), reference, known)
    assert known is not None
    return known


def test_what_looks_find_is_what_one_look_finds() -> None:
    """Rows that are read again count once, and those that are let go have counted."""
    rows = rows_with((2_000, STEADY))
    once = seen(rows, slice(None))
    often = seen(rows, slice(0, 710), slice(300, 1_200), slice(1_150, 2_000), slice(1_400, 2_000))

    assert once.evidence.window_count == 1_700 // 25
    assert (often.evidence, often.largest) == (once.evidence, once.largest)


def test_what_was_found_outlives_a_restart() -> None:
    """Names of rows do not: rows that were posted by then count as judged."""
    rows = rows_with((1_000, STEADY), (400, 0.3))
    reference = reference_of(rows)
    assert reference is not None
    kept = seen(rows, slice(0, 1_000)).without_names()
    same = judged_rows(rows.taken(slice(0, 1_000)), reference, kept)
    later = judged_rows(rows, reference, kept)

    assert same is kept
    assert later.evidence == seen(rows, slice(None)).evidence
    assert drop_of(rows.taken(slice(1_390, None)), reference, later).state is DropState.DROPPED


def test_a_row_that_is_logged_after_its_label_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as its label is among those that are known by name."""
    rows = rows_with((800, STEADY))
    late = np.arange(800) % 2 == 0
    late[:300] = False
    early = rows.taken(np.flatnonzero(~late))
    reference = reference_of(rows)
    assert reference is not None
    before = judged_rows(early, reference)
    after = judged_rows(rows, reference, before)
    monkeypatch.setattr(judging, "MOST_NAMES", 50)
    forgetful = judged_rows(early, reference)
    missed = judged_rows(rows, reference, forgetful)

    assert [one.evidence.window_count for one in (before, after)] == [10, 20]
    assert len(forgetful.names) == 50
    assert missed.evidence.window_count == 10 + 50 // 25


def test_an_alarm_is_over_when_rows_are_as_before_and_rings_again() -> None:
    """300 of them are asked for; the test begins anew then."""
    rows = rows_with((1_000, STEADY), (300, 0.4), (900, STEADY), (300, 0.4))
    states = [seen(rows, slice(0, end)).since_s is not None for end in (1_000, 1_300, 2_200, 2_500)]

    assert states == [False, True, False, True]


def test_another_reference_begins_anew() -> None:
    """What was found by the bound of one says nothing of the other."""
    rows = rows_with((600, STEADY), (300, 0.4))
    reference = reference_of(rows)
    assert reference is not None
    rung = judged_rows(rows, reference)
    lenient = replace(reference, bad_count=200)

    assert rung.since_s is not None
    assert judged_rows(rows, lenient, rung) == judged_rows(rows, lenient)
    assert judged_rows(rows, lenient, rung).since_s is None
