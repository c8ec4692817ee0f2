"""Evidence is right under the null, whatever is looked at, and grows under the alternative."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.monitor.sequential import (
    MAX_EXACT_COUNT,
    ChangeEvidence,
    Counted,
    Evidence,
    log_average,
    rate_excess,
    share_above,
    share_bound,
    share_risen,
    sign_excess,
)

sides = pytest.mark.parametrize("is_two_sided", [False, True], ids=["one", "two"])


def chances_of_events(total: int, one: int, other: int) -> dict[int, float]:
    """The hypergeometric law of the events that fall on `one` of `one + other` calls."""
    ways = {
        count: math.comb(one, count) * math.comb(other, total - count)
        for count in range(max(0, total - other), min(one, total) + 1)
    }
    return {count: way / sum(ways.values()) for count, way in ways.items()}


@given(one=st.integers(1, 12), other=st.integers(1, 12), data=st.data())
def test_two_arms_alike_gain_nothing(one: int, other: int, data: st.DataObject) -> None:
    """If chance gave the events to the arms, the e-value's mean is at most 1, one-sided and two."""
    total = data.draw(st.integers(0, one + other))
    is_two_sided = data.draw(st.booleans())
    mean = sum(
        chance
        * math.exp(
            rate_excess(
                Evidence(is_two_sided=is_two_sided),
                candidate=Counted(count, one),
                live=Counted(total - count, other),
            ).log_e
        )
        for count, chance in chances_of_events(total, one, other).items()
    )

    assert mean <= 1 + 1e-9


def test_windows_of_different_shares_gain_nothing_together() -> None:
    """Over two windows the mean stays at most 1, though the candidate's share changes."""
    first, second = (6, 2, 6), (5, 9, 3)
    mean = 0.0
    for (early, early_chance), (late, late_chance) in product(
        chances_of_events(*first).items(), chances_of_events(*second).items()
    ):
        evidence = Evidence()
        for count, (total, one, other) in ((early, first), (late, second)):
            evidence = rate_excess(
                evidence, candidate=Counted(count, one), live=Counted(total - count, other)
            )
        mean += early_chance * late_chance * math.exp(evidence.log_e)

    assert mean <= 1 + 1e-9


def test_a_better_candidate_gains_nothing() -> None:
    """If the candidate fails less often than the live version, the mean is below 1."""
    chances = chances_of_events(6, 8, 8)
    weights = {count: chance * 0.5**count for count, chance in chances.items()}
    mean = sum(
        weight
        * math.exp(
            rate_excess(Evidence(), candidate=Counted(count, 8), live=Counted(6 - count, 8)).log_e
        )
        for count, weight in weights.items()
    ) / sum(weights.values())

    assert mean < 1


@given(count=st.integers(1, 20), limit=st.floats(0.001, 0.9))
def test_a_share_at_its_limit_gains_nothing(count: int, limit: float) -> None:
    """If rows are off exactly as often as they may be, the mean is 1."""
    mean = sum(
        math.comb(count, off)
        * limit**off
        * (1 - limit) ** (count - off)
        * math.exp(share_above(Evidence(), Counted(off, count), limit).log_e)
        for off in range(count + 1)
    )

    assert mean == pytest.approx(1)


@given(count=st.integers(1, 30))
def test_signs_of_a_fair_coin_gain_nothing(count: int) -> None:
    """If worse and better windows are equally likely, the mean is 1."""
    mean = sum(
        math.comb(count, worse)
        * 0.5**count
        * math.exp(sign_excess(Evidence(), worse_count=worse, better_count=count - worse).log_e)
        for worse in range(count + 1)
    )

    assert mean == pytest.approx(1)


@sides
def test_many_events_count_less_than_few(is_two_sided: bool) -> None:  # noqa: FBT001  a parameter
    """Where the binomial stands for the exact law, the evidence is no larger than the exact one's.

    Both are of one share of events, just below and above the count from which it does.
    """
    below = rate_excess(
        Evidence(is_two_sided=is_two_sided),
        candidate=Counted(MAX_EXACT_COUNT * 6 // 10, 2 * MAX_EXACT_COUNT),
        live=Counted(MAX_EXACT_COUNT * 4 // 10, 2 * MAX_EXACT_COUNT),
    )
    above = rate_excess(
        Evidence(is_two_sided=is_two_sided),
        candidate=Counted(MAX_EXACT_COUNT * 66 // 100, 2 * MAX_EXACT_COUNT),
        live=Counted(MAX_EXACT_COUNT * 44 // 100, 2 * MAX_EXACT_COUNT),
    )

    assert 0 < above.log_e < below.log_e * 1.1


def test_peeking_at_every_window_alarms_no_oftener_than_stated() -> None:
    """Of 200 pairs of equal arms, looked at after each of 10 windows, at most 5 % reach 20."""
    rng = np.random.default_rng(7)
    failed = rng.hypergeometric(40, 360, 100, size=(200, 10))
    alarms = sum(_peak(row) >= math.log(20) for row in failed.tolist())

    assert alarms <= 10


def _peak(failed: list[int]) -> float:
    evidence, peak = Evidence(), 0.0
    for count in failed:
        evidence = rate_excess(
            evidence, candidate=Counted(count, 100), live=Counted(40 - count, 300)
        )
        peak = max(peak, evidence.log_e)
    return peak


def test_an_arm_without_calls_says_nothing() -> None:
    """A window of one arm only leaves the evidence as it was."""
    before = rate_excess(Evidence(), candidate=Counted(1, 10), live=Counted(0, 10))

    assert rate_excess(before, candidate=Counted(3, 10), live=Counted(0, 0)) == before
    assert rate_excess(before, candidate=Counted(0, 0), live=Counted(3, 10)) == before


def test_a_fault_that_only_the_candidate_has_is_found_soon() -> None:
    """Five faults of a candidate with a tenth of the calls are evidence of over 1,000 to 1."""
    found = rate_excess(Evidence(), candidate=Counted(5, 500), live=Counted(0, 4500))

    assert found.log_e > math.log(1000)


def test_the_average_of_evidence_is_of_e_values() -> None:
    """Not of their logarithms."""
    strong = sign_excess(Evidence(), worse_count=10, better_count=0)

    average = log_average((strong, Evidence()))

    assert math.exp(average) == pytest.approx((math.exp(strong.log_e) + 1) / 2)


@given(count=st.integers(1, 400), data=st.data())
def test_a_bound_holds_the_true_share(count: int, data: st.DataObject) -> None:
    """If the true share is at the bound, so few events come with chance alpha at most."""
    events = data.draw(st.integers(0, count))
    bound = share_bound(Counted(events, count), 0.01)
    fewer = sum(
        math.comb(count, k) * bound**k * (1 - bound) ** (count - k) for k in range(events + 1)
    )

    assert events / count <= bound <= 1
    assert bound == 1 or fewer <= 0.01 + 1e-9


def test_nothing_counted_bounds_nothing() -> None:
    """Without a call the share may be anything."""
    assert share_bound(Counted(0, 0), 0.01) == 1


@given(limit=st.floats(0.05, 0.9), sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_a_share_that_never_rose_gains_nothing(limit: float, sizes: list[int]) -> None:
    """Whichever moment a rise is looked for at, the mean of the evidence is at most 1."""
    mean = 0.0
    for path in product(*(range(size + 1) for size in sizes)):
        chance, evidence = 1.0, ChangeEvidence()
        for count, size in zip(path, sizes, strict=True):
            chance *= math.comb(size, count) * limit**count * (1 - limit) ** (size - count)
            evidence = share_risen(evidence, Counted(count, size), limit)
        mean += chance * math.exp(evidence.log_e)

    assert mean <= 1 + 1e-9


def test_good_times_do_not_hide_a_rise() -> None:
    """After 10,000 good rows a rise from 5 to 20 % over a limit of 8 % is found within 500 rows."""
    evidence = ChangeEvidence()
    for _ in range(400):
        evidence = share_risen(evidence, Counted(1, 25), 0.08)
    quiet = evidence.log_e
    rows = 0
    while evidence.log_e < math.log(40) and rows < 10_000:
        evidence = share_risen(evidence, Counted(5, 25), 0.08)
        rows += 25

    assert quiet < math.log(40)
    assert rows <= 500
