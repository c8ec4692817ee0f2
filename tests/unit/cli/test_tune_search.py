"""What is tried, at which rates, and what is made of it: without any server."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.cli.tune.rates import next_rate
from serving.cli.tune.records import Comparison, Stage, Trial, Tuning, best_of, frontier
from serving.cli.tune.space import Space, next_wave, space_of
from serving.cli.tune.view import verdict
from serving.registry.model_config.scheduling import NATURAL, Joining, Scheduling
from serving.registry.version import ServingPolicy

SLO_S = 0.02
ONE = Scheduling(instances=1, threads=1)


def stage(rate: float, p99_s: float = 0.01, *, failed: int = 0) -> Stage:
    """A stage with a hundred calls."""
    return Stage(
        rate=rate, call_count=100, failed_count=failed, p50_s=0.001, p99_s=p99_s, client_share=0.1
    )


def trial(one: Scheduling, rate: float, *, memory_bytes: int = 100) -> Trial:
    """A trial that holds up to a rate; 0: it never does."""
    stages = (stage(rate),) if rate else (stage(10.0, p99_s=1.0 / one.cores),)
    return Trial(scheduling=one, stages=stages, memory_bytes=memory_bytes)


def searched(space: Space, rate: Callable[[Scheduling], float]) -> dict[Scheduling, Trial]:
    """Search to the end, with rates that are known."""
    tried: dict[Scheduling, Trial] = {}
    while wave := next_wave(space, tried, SLO_S):
        tried |= {one: trial(one, rate(one)) for one in wave}
    return tried


def space(cpus: int, *, max_rows: int = 64, present: Scheduling = ONE) -> Space:
    """What may vary of a plain model."""
    return space_of(ServingPolicy(), present, max_rows=max_rows, cpus=cpus, slo_s=SLO_S)


def found(*trials: Trial, comparison: Comparison | None = None) -> Tuning:
    """Return a result."""
    best = best_of([one for one in trials if one.rate(SLO_S)], SLO_S)
    return Tuning(
        model="m",
        version=1,
        slo_p99_s=SLO_S,
        cpus=2,
        inputs="made up",
        budget_s=1.0,
        took_s=1.0,
        present=ONE,
        trials=trials,
        skipped=(),
        best=best.scheduling if best else None,
        comparison=comparison,
    )


def test_the_present_scheduling_is_tried_first() -> None:
    """Whatever the budget leaves out, there is something to compare with."""
    present = Scheduling(instances=3, threads=2, joining=Joining(max_queue_delay_us=700))

    assert space(8, present=present).first()[0] == present


def test_engines_occupy_no_more_cpus_than_allowed() -> None:
    """Of what is tried, only the present may be larger."""
    present = Scheduling(instances=5, threads=2)

    larger = [one for one in space(4, present=present).all() if one.cores > 4]

    assert larger == [present]


def test_a_model_without_batch_has_one_way_to_join() -> None:
    """Nothing is tried that could not change anything."""
    assert {one.joining for one in space(4, max_rows=0).all()} == {NATURAL}


def test_deterministic_models_keep_their_thread() -> None:
    """Their promise is one thread."""
    policy = ServingPolicy(deterministic=True)

    tried = space_of(policy, ONE, max_rows=8, cpus=8, slo_s=SLO_S).all()

    assert {one.threads for one in tried} == {1}


@pytest.mark.parametrize("cpus", [1, 2, 6, 64])
def test_a_search_climbs_to_the_best_and_ends(cpus: int) -> None:
    """Where more workers are better up to a number, that number is found, and the right delay."""
    joining = Joining(max_queue_delay_us=1000)

    def rate(one: Scheduling) -> float:
        gain = 1.5 if one.joining == joining else 1.0
        return gain * min(one.instances, 4) / one.threads**0.5

    tried = searched(space(cpus), rate)

    best = best_of(tuple(tried.values()), SLO_S)
    assert best is not None
    assert best.scheduling == Scheduling(instances=min(cpus, 4), threads=1, joining=joining)
    assert len(tried) < 45


def test_equal_figures_lead_the_same_way() -> None:
    """A search is repeatable: nothing is drawn."""
    first, second = (searched(space(16), lambda one: one.instances + 0.5) for _ in range(2))

    assert list(first) == list(second)


def test_of_equals_the_one_with_fewer_cpus_is_best() -> None:
    """CPUs that bring nothing are not spent."""
    wide = replace(ONE, threads=4)

    best = best_of([trial(wide, 50), trial(ONE, 50)], SLO_S)

    assert best is not None
    assert best.scheduling == ONE


def test_a_best_that_was_not_compared_is_not_called_the_present() -> None:
    """Nothing is written then, and nothing is claimed."""
    tuned = found(trial(ONE, 10), trial(replace(ONE, threads=4), 50))

    assert tuned.chosen() is None
    assert verdict(tuned).startswith("not settled: ")


@given(limit=st.floats(0.05, 1.2))
def test_rates_close_in_on_the_highest_that_holds(limit: float) -> None:
    """Five stages leave no more than a part of the capacity unknown."""
    stages: list[Stage] = []
    while (rate := next_rate(1000.0, stages, SLO_S)) is not None:
        stages.append(stage(rate, p99_s=0.01 if rate <= 1000 * limit else 1.0))

    reached = Trial(scheduling=ONE, stages=tuple(stages)).rate(SLO_S)
    assert reached <= 1000 * limit
    assert reached >= 1000 * limit - 45


def test_a_refused_call_breaks_a_rate() -> None:
    """A rate at which some are turned away is none that is kept."""
    assert Trial(scheduling=ONE, stages=(stage(100, failed=1),)).rate(SLO_S) == 0.0


def test_the_frontier_has_what_nothing_beats() -> None:
    """More calls for more CPUs stay; fewer calls for as many CPUs, or for more memory, go."""
    two, wide, four = (replace(ONE, instances=2), replace(ONE, threads=2), replace(ONE, threads=4))
    small = trial(ONE, 50)
    best = trial(two, 90, memory_bytes=200)
    beaten = trial(four, 80, memory_bytes=300)
    lean = trial(wide, 85, memory_bytes=100)

    assert set(frontier([small, best, beaten, lean], SLO_S)) == {small, best, lean}


@pytest.mark.parametrize(
    ("best", "present", "is_better"),
    [
        ((30.0, 31.0, 29.0), (20.0, 28.0, 21.0), True),
        ((30.0, 31.0, 29.0), (20.0, 29.5, 21.0), False),
        ((5.0, 5.0, 5.0), (0.0, 0.0, 0.0), True),
        ((0.0, 5.0, 5.0), (0.0, 0.0, 0.0), False),
    ],
)
def test_better_is_what_is_better_each_time(
    best: tuple[float, ...], present: tuple[float, ...], *, is_better: bool
) -> None:
    """One run of the present above one of the best, and nothing is written."""
    other = replace(ONE, instances=2)
    comparison = Comparison(best_rates=best, present_rates=present)
    result = found(trial(ONE, 20), trial(other, 30), comparison=comparison)

    assert result.chosen() == (other if is_better else None)
    assert ("within noise" in verdict(result)) is not is_better


def test_a_promise_out_of_reach_says_how_far_it_is() -> None:
    """The best that was reached, and by what."""
    said = verdict(found(trial(ONE, 0), trial(replace(ONE, threads=4), 0)))

    assert "p99 of 20 ms" in said
    assert "250.00 ms with 1 worker of 4 threads" in said
