"""A watch over windows: what ends a rollout, what lets it go on, and what it says of it."""

import math
from collections.abc import Mapping

import pytest

from serving.monitor.traffic import TrafficDelta, latency_bucket
from serving.registry.rollouts.plan import Guardrails
from serving.rollout.engine.guardrails import (
    Ruling,
    Verdict,
    Watch,
    Window,
    alpha_each,
    baking,
    judged,
    next_step,
    observe,
)
from tests.fakes.rollouts import read_again

DEFAULT = Guardrails()
ALL = Guardrails(output_shift=True)
MIB = 2**20


def traffic(
    answered: int = 40, *, failed: int = 0, ms: float = 10, outputs: Mapping[int, int] | None = None
) -> TrafficDelta:
    """So many calls that took the same time."""
    return TrafficDelta(
        answered_count=answered,
        fault_count=failed,
        latency_counts={latency_bucket(int(ms * 1e6)): answered},
        outputs={"y": outputs} if outputs else {},
    )


def watched(
    *windows: Window, guardrails: Guardrails = DEFAULT, watch: Watch | None = None
) -> Watch:
    """A watch after some windows."""
    watch = watch or Watch()
    for window in windows:
        watch = observe(watch, window, guardrails)
    return watch


def verdict(*windows: Window, guardrails: Guardrails = DEFAULT) -> Verdict:
    """What is said after some windows."""
    return judged(watched(*windows, guardrails=guardrails), guardrails)


def both(candidate: TrafficDelta, live: TrafficDelta, **rest: float | str) -> Window:
    """A second with both versions."""
    return Window(duration_s=1, candidate=candidate, live=live, **rest)  # type: ignore[arg-type]


def test_too_few_calls_are_watched_on() -> None:
    """Below the minimum a candidate neither passes nor fails, and the reason names both numbers."""
    found = verdict(both(traffic(10), traffic(90)))

    assert found.ruling is Ruling.WATCHING
    assert found.reason == "10 of the 50 calls that are needed came"


def test_an_equal_candidate_passes() -> None:
    """After enough calls that went as the live version's, the ruling is that it is enough."""
    found = verdict(*[both(traffic(), traffic(360))] * 30)

    assert found.ruling is Ruling.ENOUGH
    assert "the candidate failed 0 of 1,200 calls" in found.reason


def test_a_candidate_that_fails_more_is_a_breach() -> None:
    """Faults that only the candidate has end the rollout, with counts, shares and the evidence."""
    found = verdict(*[both(traffic(39, failed=1), traffic(360))] * 10)

    assert found.ruling is Ruling.BREACH
    assert "the candidate failed 10 of 400 calls (2.500%)" not in found.reason, "it fell earlier"
    assert "the live version 0 of" in found.reason
    assert "limit 600" in found.reason


def test_faults_of_both_are_no_breach() -> None:
    """An outage of something that both need does not count against the candidate."""
    found = verdict(*[both(traffic(20, failed=20), traffic(180, failed=180))] * 20)

    assert found.ruling is Ruling.ENOUGH


def test_a_slow_candidate_is_a_breach() -> None:
    """Twice the latency where 1.5 times is allowed ends it, naming the quantile and both times."""
    found = verdict(*[both(traffic(ms=20), traffic(360, ms=10))] * 12)

    assert found.ruling is Ruling.BREACH
    assert found.reason.startswith("latency: 95 % of the candidate's ")
    assert "1.5 times the live version's in 11 of 11 windows" in found.reason


def test_a_candidate_as_slow_as_allowed_is_no_breach() -> None:
    """A latency of 1.4 times the live version's is within the limit of 1.5."""
    assert verdict(*[both(traffic(ms=14), traffic(360))] * 40).ruling is Ruling.ENOUGH


def test_short_looks_are_joined_to_windows() -> None:
    """Looking four times a second is no more evidence than looking once."""
    short = Window(duration_s=0.1875, candidate=traffic(9, ms=20), live=traffic(36))

    watch = watched(*[short] * 35)

    assert watch.latency.worse_count == 8


def test_rows_off_are_a_breach() -> None:
    """More mismatching rows than allowed end it; the largest error is named."""
    window = both(
        TrafficDelta(), TrafficDelta(), compared_rows=100, mismatched_rows=2, largest_error="y 0.3"
    )

    found = verdict(*[window] * 4)

    assert found.ruling is Ruling.BREACH
    assert "compared rows (2.000%) are off, 0.100% may be; y 0.3" in found.reason


def test_where_no_row_may_be_off_the_first_one_is_a_breach() -> None:
    """A limit of 0 needs no statistics."""
    guardrails = Guardrails(mismatch_share=0)

    found = verdict(
        both(traffic(), traffic(), compared_rows=9, mismatched_rows=1), guardrails=guardrails
    )

    assert found.reason == (
        "mismatch: 1 of 9 compared rows (11.111%) are off; none may be; if it was trained to "
        "answer otherwise, start it with --guard mismatch_share=off"
    )


def test_moved_outputs_are_a_breach_if_asked() -> None:
    """Outputs in other bins end a rollout that watches them, and no other."""
    window = both(traffic(outputs={16256: 30, 16300: 10}), traffic(outputs={16256: 10, 16300: 30}))

    asked = verdict(*[window] * 20, guardrails=ALL)

    assert asked.ruling is Ruling.BREACH
    assert "output_shift: y differs most among 1 outputs: 75.0% of" in asked.reason
    assert verdict(*[window] * 20).ruling is Ruling.ENOUGH


def test_workers_that_end_are_a_breach() -> None:
    """As many restarts as the limit end it, calls or not."""
    assert verdict(both(traffic(), traffic(), restart_count=1)).ruling is Ruling.WATCHING
    found = verdict(both(TrafficDelta(), traffic(), restart_count=2))
    assert found.reason == "restarts: the candidate's workers ended by themselves 2 times, limit 2"


@pytest.mark.parametrize(
    ("sizes", "ruling"),
    [
        ((100, 100, 163), Ruling.ENOUGH),
        ((100, 100, 165), Ruling.BREACH),
        ((1000, 1000, 1400), Ruling.ENOUGH),
        ((1000, 1000, 1600), Ruling.BREACH),
        ((100, 300, 310), Ruling.ENOUGH),
    ],
    ids=["small", "grown", "large", "large grown", "grown by first calls"],
)
def test_memory_may_grow_so_much(sizes: tuple[int, ...], ruling: Ruling) -> None:
    """By half of what it was after the first calls, and by 64 MiB in any case."""
    windows = [both(traffic(), traffic(), rss_bytes=size * MIB) for size in sizes]

    assert verdict(*windows).ruling is ruling


def test_a_breach_stays() -> None:
    """What was once reached is not taken back by better windows after it."""
    bad = watched(*[both(traffic(30, failed=10), traffic(360))] * 3)
    later = watched(*[both(traffic(), traffic(360))] * 50, watch=bad)

    assert judged(later, DEFAULT).ruling is Ruling.BREACH
    assert later.breaches == bad.breaches


def test_a_step_counts_its_own_calls() -> None:
    """The next step needs its minimum again; what was found so far stays."""
    watch = watched(*[both(traffic(40, failed=1), traffic(360, failed=9))] * 3)

    stepped = next_step(watch)

    assert judged(watch, DEFAULT).ruling is Ruling.ENOUGH
    assert judged(stepped, DEFAULT).ruling is Ruling.WATCHING
    assert stepped.errors == watch.errors


def test_after_a_flip_the_calls_before_it_are_compared_with() -> None:
    """Without a live arm in the same time, its traffic from before stands for it."""
    flipped = baking(Watch(), traffic(5000, ms=10))
    alone = TrafficDelta()

    slow = watched(*[both(traffic(ms=20), alone)] * 12, watch=flipped)
    failing = watched(*[both(traffic(36, failed=4), alone)] * 12, watch=flipped)
    good = watched(*[both(traffic(), alone)] * 30, watch=flipped)

    assert "10.2 ms before the flip" not in judged(good, DEFAULT).ruling
    assert "ms before the flip" in judged(slow, DEFAULT).reason
    assert judged(slow, DEFAULT).ruling is Ruling.BREACH
    assert (
        "the live version 0 of 5,000 calls (0.000%) before the flip"
        in judged(failing, DEFAULT).reason
    )
    assert judged(failing, DEFAULT).ruling is Ruling.BREACH
    assert judged(good, DEFAULT).ruling is Ruling.ENOUGH


def test_after_a_flip_without_calls_before_it_nothing_is_compared() -> None:
    """A live version that had no calls gives no limits."""
    flipped = baking(Watch(), TrafficDelta())

    watch = watched(*[both(traffic(0, failed=40), TrafficDelta())] * 12, watch=flipped)

    assert judged(watch, DEFAULT).ruling is Ruling.ENOUGH


def test_outputs_are_compared_with_a_store_after_a_flip() -> None:
    """Each of the live version's rows is drawn once, and then there is nothing to compare with."""
    store = traffic(4000, outputs={16256: 200, 16300: 200})
    window = both(traffic(outputs={16256: 20, 16300: 20}), TrafficDelta())

    watch = watched(*[window] * 20, watch=baking(Watch(), store), guardrails=ALL)

    series = watch.shift.series["y"]
    assert series.live[-1] + 120 + sum(series.waiting_live.values()) == 400
    assert judged(watch, ALL).ruling is Ruling.ENOUGH


def test_alpha_is_divided_among_what_is_compared() -> None:
    """The stated chance is of all comparisons together; plain limits take nothing of it."""
    few = Guardrails(error_rate=False, mismatch_share=-1, alpha=0.02)

    assert alpha_each(few) == 0.02
    assert alpha_each(ALL) == ALL.alpha / 4
    assert alpha_each(Guardrails(mismatch_share=0)) == DEFAULT.alpha / 2


def test_what_is_off_is_not_found() -> None:
    """A guardrail that is off neither ends a rollout nor is reported."""
    off = Guardrails(
        error_rate=False, latency_ratio=0, mismatch_share=-1, restart_count=0, memory_growth_share=0
    )
    bad = both(
        traffic(20, failed=20, ms=90),
        traffic(360),
        compared_rows=9,
        mismatched_rows=9,
        restart_count=9,
        rss_bytes=MIB,
    )

    found = verdict(*[bad] * 20, guardrails=off)

    assert (found.ruling, found.findings) == (Ruling.ENOUGH, ())


def test_a_watch_survives_its_json() -> None:
    """It is read as it was written, in the middle of everything, and goes on the same way."""
    window = both(
        traffic(30, failed=3, ms=20, outputs={5: 30, -6: 10}),
        traffic(90, outputs={5: 30}),
        compared_rows=3,
        rss_bytes=MIB,
    )
    short = Window(duration_s=0.1, candidate=traffic(4), live=traffic(9))
    watch = watched(*[window] * 9, short, guardrails=ALL)

    again = read_again(watch)

    assert again == watch
    assert observe(again, window, ALL) == observe(watch, window, ALL)
    baked = baking(watch, traffic(outputs={5: 7}))
    assert read_again(baked) == baked


def test_findings_have_numbers_for_reports() -> None:
    """Each comparison has its evidence and limit; what has a plain limit has none."""
    found = verdict(*[both(traffic(), traffic(360))] * 3)

    evidence = {one.guardrail: one.evidence for one in found.findings}
    assert evidence["error_rate"] is not None
    assert evidence["error_rate"].log_limit == pytest.approx(math.log(600))
    assert evidence["restarts"] is None
