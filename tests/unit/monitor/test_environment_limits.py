"""Load that lasts is told of once, with what was before; what swings is not told again."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.node_load import LoadCounters
from serving.monitor.environment.limits import (
    BEGIN_S,
    END_S,
    LIMITS,
    Latches,
    load_figures,
    next_latches,
    standing,
)
from serving.monitor.environment.records import Condition

LOOK_S = 10.0
STEAL = ("steal", "")


def seen(figures: Iterable[float]) -> list[tuple[Condition, ...]]:
    """What stands after each look at stolen time."""
    latches: Latches = {}
    found = []
    for figure in figures:
        latches = next_latches(latches, {STEAL: figure}, LOOK_S)
        found.append(standing(latches))
    return found


def flips(found: list[tuple[Condition, ...]]) -> int:
    """How often something began or ended."""
    states = [False, *(bool(one) for one in found)]
    return sum(a is not b for a, b in pairwise(states))


def test_what_lasts_begins_and_ends_with_figures() -> None:
    """After half a minute it stands, a calm minute later it does not."""
    found = seen([0.01, 0.5, 0.5, 0.5, 0.5, *[0.0] * 6])

    assert [len(one) for one in found] == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0]
    assert found[3] == (Condition(name="steal", before="1%", after="50%"),)


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param([0.5, 0.5, 0.0] * 20, id="too short each time"),
        pytest.param([0.09] * 60, id="below the limit"),
    ],
)
def test_what_does_not_last_is_not_told(figures: list[float]) -> None:
    """A burst is no condition."""
    assert flips(seen(figures)) == 0


def test_a_figure_that_swings_about_its_limit_is_told_once() -> None:
    """Below the upper limit is not yet well."""
    assert flips(seen([0.11, 0.11, 0.11, *[0.09, 0.11] * 50])) == 1


@given(st.lists(st.sampled_from([0.0, 0.04, 0.07, 0.2]), max_size=300))
def test_nothing_flaps(figures: list[float]) -> None:
    """Between two beginnings lie at least the time to end and the time to begin."""
    assert flips(seen(figures)) <= 1 + 2 * len(figures) * LOOK_S / (BEGIN_S + END_S)


def test_what_is_not_measured_any_more_is_over() -> None:
    """A GPU that is gone has no condition."""
    latches = next_latches({}, {STEAL: 1.0}, BEGIN_S)

    assert standing(latches)
    assert not standing(next_latches(latches, {}, LOOK_S))


def test_figures_are_what_happened_between_two_looks() -> None:
    """As shares of the time; what a kernel does not count has no figure."""
    before = LoadCounters(stalled_us={"cpu": 1_000_000, "io": 0}, ticks=1000, steal_ticks=10)
    after = LoadCounters(
        stalled_us={"cpu": 6_000_000, "memory": 5}, ticks=2000, steal_ticks=210, periods=5
    )

    figures = load_figures(before, after, 10.0)

    assert figures == {"cpu_pressure": 0.5, "steal": 0.2}
    assert figures.keys() <= LIMITS.keys()
    assert load_figures(before, before, 0.0) == {}
