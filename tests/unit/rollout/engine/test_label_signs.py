"""Labels as a guardrail: a candidate that is wrong more often is taken back, another one is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.monitor.sequential import Counted
from serving.monitor.traffic import TrafficDelta
from serving.registry.rollouts.plan import Guardrails
from serving.rollout.engine.guardrails import (
    Ruling,
    Verdict,
    Watch,
    Window,
    alpha_each,
    baking,
    comparison_count,
    judged,
    observe,
)
from serving.rollout.engine.label_signs import LabelCounts
from tests.fakes.rollouts import read_again

RAILS = Guardrails(label_loss=True)
CALLS = TrafficDelta(answered_count=100)


def watched(
    candidate: Counted, live: Counted, *, count: int = 20, rails: Guardrails = RAILS
) -> Watch:
    """A watch after so many equal windows of both versions."""
    labels = LabelCounts(candidate=candidate, live=live, live_ever=Counted(50, 1000))
    window = Window(duration_s=1, candidate=CALLS, live=CALLS, labels=labels)
    watch = Watch()
    for _ in range(count):
        watch = observe(watch, window, rails)
    return watch


def after_flip(candidate: Counted) -> Verdict:
    """What is said of a candidate whose labels came after the flip; the live version had 5 %."""
    watch = baking(watched(Counted(1, 20), Counted(1, 20)), CALLS)
    for _ in range(20):
        window = Window(duration_s=1, candidate=CALLS, labels=LabelCounts(candidate=candidate))
        watch = observe(watch, window, RAILS)
    return judged(watch, RAILS)


def test_a_candidate_that_is_wrong_more_often_is_a_breach() -> None:
    """30 % of its labelled requests, 5 % of the live version's, in the same time."""
    found = judged(watched(Counted(6, 20), Counted(1, 20)), RAILS)

    assert found.ruling is Ruling.BREACH
    assert "label_loss: by their labels 24 of 80 requests" in found.reason
    assert "4 of 80 requests" in found.reason
    assert "in the same time" in found.reason


def test_a_candidate_that_is_as_good_or_better_is_none() -> None:
    """And one whose requests have no labels says nothing."""
    rulings = {
        judged(watched(candidate, Counted(2, 20)), RAILS).ruling
        for candidate in (Counted(2, 20), Counted(0, 20), Counted(0, 0))
    }

    assert rulings == {Ruling.ENOUGH}


def test_after_a_flip_what_was_known_of_the_live_version_is_the_measure() -> None:
    """5 % was wrong, of 1,000: 30 % is a breach, 5 % is none."""
    bad, good = after_flip(Counted(6, 20)), after_flip(Counted(1, 20))

    assert bad.ruling is Ruling.BREACH
    assert "50 of 1,000 requests (5.000%) of the live version before" in bad.reason
    assert good.ruling is Ruling.ENOUGH


def test_it_is_off_unless_it_is_asked_for_and_then_shares_the_chance() -> None:
    """A plan that does not name it has as many comparisons as before."""
    off = Guardrails()

    assert comparison_count(RAILS) == comparison_count(off) + 1
    assert alpha_each(RAILS) < alpha_each(off)
    assert judged(watched(Counted(20, 20), Counted(0, 20), rails=off), off).ruling is Ruling.ENOUGH


def test_what_is_known_survives_the_controller() -> None:
    """A watch that is written and read goes on as it was."""
    watch = watched(Counted(3, 20), Counted(1, 20), count=3)

    assert read_again(watch) == watch


@pytest.mark.parametrize("is_flipped", [False, True], ids=["canary", "bake"])
def test_equal_versions_are_seldom_taken_back(is_flipped: bool) -> None:  # noqa: FBT001  a case
    """At 10 % wrong each, none of 40 rollouts of 30 windows rings."""
    rung = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        watch = watched(Counted(0, 0), Counted(0, 0), count=1)
        if is_flipped:
            ever = LabelCounts(live_ever=Counted(int(random.binomial(1000, 0.1)), 1000))
            watch = observe(watch, Window(duration_s=1, labels=ever), RAILS)
            watch = baking(watch, CALLS)
        for _ in range(30):
            wrong, other = (int(value) for value in random.binomial(20, 0.1, 2))
            labels = LabelCounts(candidate=Counted(wrong, 20), live=Counted(other, 20))
            watch = observe(watch, Window(duration_s=1, labels=labels), RAILS)
        rung += judged(watch, RAILS).ruling is Ruling.BREACH

    assert rung == 0


COUNTED = st.integers(0, 50).flatmap(
    lambda total: st.builds(Counted, st.integers(0, total), st.just(total))
)


@given(before=COUNTED, now=COUNTED)
def test_a_difference_is_a_count(before: Counted, now: Counted) -> None:
    """Requests that were forgotten meanwhile make nothing negative."""
    found = LabelCounts(candidate=now).since(LabelCounts(candidate=before)).candidate

    assert 0 <= found.event_count <= found.all_count
