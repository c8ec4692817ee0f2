"""Data contracts as guardrails: what of both versions' calls ends a rollout, and what does not."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import InvalidArgumentError
from serving.cli.rollout_options import PlanWords, plan_body
from serving.edge.rollout_body import GuardrailsBody
from serving.monitor.traffic import QualityCounts, TrafficDelta
from serving.registry.contracts.data_contract import DataContract
from serving.registry.rollouts.plan import (
    Guardrails,
    Plan,
    QualityTest,
    Strategy,
    decoded_plan,
    require_sound,
)
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
from serving.rollout.engine.settling import quality_test, settled
from tests.fakes.rollouts import read_again

COMPARED = Guardrails(data_quality=QualityTest.COMPARED)
LIMITED = Guardrails(data_quality=QualityTest.LIMITED)
CONTRACT, DRAFT = DataContract(), DataContract(is_draft=True)


def calls(count: int = 100, *, refused: int = 0, broken: int = 0) -> TrafficDelta:
    """So many judged requests, some of them refused, and answers to all others."""
    answered = count - refused
    quality = QualityCounts(
        judged_count=count, refused_count=refused, answer_count=answered, broken_count=broken
    )
    return TrafficDelta(answered_count=answered, quality=quality)


def watched(
    candidate: TrafficDelta,
    live: TrafficDelta,
    *,
    guardrails: Guardrails = COMPARED,
    count: int = 10,
    watch: Watch | None = None,
) -> Watch:
    """A watch after so many equal windows."""
    watch = watch or Watch()
    for _ in range(count):
        watch = observe(watch, Window(duration_s=1, candidate=candidate, live=live), guardrails)
    return watch


def verdict(
    candidate: TrafficDelta, live: TrafficDelta, *, guardrails: Guardrails = COMPARED
) -> Verdict:
    """What is said after ten windows."""
    return judged(watched(candidate, live, guardrails=guardrails), guardrails)


def test_a_contract_that_refuses_what_the_old_accepted_is_a_breach() -> None:
    """Two of a hundred calls, on the same traffic: the reason has both versions' numbers."""
    found = verdict(calls(refused=2), calls(400))

    assert found.ruling is Ruling.BREACH
    assert found.reason.startswith("input_quality: by the candidate's data contract ")
    assert "calls were refused (2.000%), by the live version's 0 of " in found.reason
    assert "in the same time (e-value " in found.reason
    assert "limit 1,000)" in found.reason


def test_answers_that_break_a_rule_are_a_breach() -> None:
    """Also where the rule only counts, and the caller gets the answer."""
    found = verdict(calls(broken=5), calls(400))

    assert found.ruling is Ruling.BREACH
    assert "output_quality: by the candidate's data contract " in found.reason
    assert "answers break a rule (5.000%), by the live version's 0 of " in found.reason


def test_what_both_contracts_say_is_no_breach() -> None:
    """Bad rows that callers send are as bad for either version."""
    assert verdict(calls(refused=9, broken=7), calls(400, refused=36, broken=28)).ruling is (
        Ruling.ENOUGH
    )


def test_a_candidate_that_is_better_is_no_breach() -> None:
    """Fewer refusals, fewer broken answers."""
    assert verdict(calls(), calls(400, refused=40, broken=40)).ruling is Ruling.ENOUGH


def test_a_few_calls_end_nothing() -> None:
    """Whatever they show: the minimum is the plan's."""
    few = Guardrails(data_quality=QualityTest.LIMITED, quality_call_count=20)
    bad = watched(calls(6, refused=6), calls(), guardrails=few, count=3)
    more = watched(calls(6, refused=6), calls(), guardrails=few, count=4)

    assert not bad.breaches
    assert list(more.breaches) == ["input_quality"]


def test_where_the_live_version_has_no_contract_a_limit_stands() -> None:
    """Its calls say nothing; the candidate's own contract may be broken by so many."""
    within, over = calls(1000, refused=5, broken=5), calls(1000, refused=40)

    assert verdict(within, TrafficDelta(answered_count=400), guardrails=LIMITED).ruling is (
        Ruling.ENOUGH
    )
    found = verdict(over, TrafficDelta(answered_count=400), guardrails=LIMITED)
    assert found.ruling is Ruling.BREACH
    assert "calls were refused (4.000%), 1.000% may be (e-value " in found.reason


def test_after_a_flip_it_is_compared_with_before() -> None:
    """Calls that the live version's contract judged then bound what the candidate's may do."""
    before = calls(5000, refused=10)
    bad = watched(calls(refused=3), TrafficDelta(), watch=baking(Watch(), before), count=20)
    good = watched(calls(500, refused=1), TrafficDelta(), watch=baking(Watch(), before))
    alone = watched(calls(refused=9), TrafficDelta(), watch=baking(Watch(), TrafficDelta()))

    assert (
        "by the live version's 10 of 5,000 calls were refused (0.200%) before the flip"
        in (bad.breaches["input_quality"])
    )
    assert judged(good, COMPARED).ruling is Ruling.ENOUGH
    assert judged(alone, COMPARED).ruling is Ruling.ENOUGH


def test_a_flip_forgets_no_evidence() -> None:
    """What the canary found counts on, also where nothing is known from before."""
    canary = watched(calls(refused=2), calls(), count=3)

    flipped = watched(calls(), TrafficDelta(), watch=baking(canary, TrafficDelta()), count=3)

    assert flipped.quality.inputs == canary.quality.inputs


def test_it_is_off_where_nobody_settled_it() -> None:
    """In a plan of an older Bascule, which does not name it: the chance of the others stays."""
    old = decoded_plan('{"strategy": "canary", "guardrails": {"alpha": 0.01}}').guardrails

    assert old.data_quality is QualityTest.AUTO
    assert comparison_count(old) == comparison_count(Guardrails()) == 3
    assert not watched(calls(refused=100), calls(), guardrails=old).breaches
    assert "quality" not in verdict(calls(refused=100), calls(), guardrails=old).reason


def test_alpha_is_divided_among_it_too() -> None:
    """Both comparisons take their part, and leave the others less."""
    assert comparison_count(COMPARED) == comparison_count(LIMITED) == 5
    assert alpha_each(COMPARED) == COMPARED.alpha / 5


@pytest.mark.parametrize(
    ("live", "candidate", "has_live", "expected"),
    [
        (CONTRACT, CONTRACT, True, QualityTest.COMPARED),
        (CONTRACT, None, True, QualityTest.COMPARED),
        (DRAFT, DRAFT, True, QualityTest.COMPARED),
        (None, CONTRACT, True, QualityTest.LIMITED),
        (None, DRAFT, True, QualityTest.OFF),
        (None, CONTRACT, False, QualityTest.OFF),
        (None, None, True, QualityTest.OFF),
    ],
)
def test_it_is_settled_by_the_contracts_of_both(
    live: DataContract | None,
    candidate: DataContract | None,
    *,
    has_live: bool,
    expected: QualityTest,
) -> None:
    """When the rollout begins; what somebody asked for stays."""
    assert quality_test(Guardrails(), live, candidate, has_live=has_live) is expected
    off = Guardrails(data_quality=QualityTest.OFF)
    assert quality_test(off, live, candidate, has_live=has_live) is QualityTest.OFF
    plan = settled(Plan(bake_s=7), expected)
    assert (plan.bake_s, plan.guardrails.data_quality) == (7, expected)
    assert decoded_plan(plan.encoded()) == plan


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", QualityTest.AUTO),
        ('{"data_quality": "limited"}', QualityTest.LIMITED),
        ('{"data_quality": false}', QualityTest.OFF),
        ('{"data_quality": true}', QualityTest.AUTO),
    ],
)
def test_a_plan_names_it(text: str, expected: QualityTest) -> None:
    """By its word, or as a switch, which YAML makes of `off`."""
    assert GuardrailsBody.model_validate_json(text).data_quality is expected


def test_the_command_line_names_it() -> None:
    """As the other guardrails; a word that is none is refused with those that are."""

    def body(guard: str) -> dict[str, object]:
        words = PlanWords(
            strategy=Strategy.BLUE_GREEN,
            steps="",
            sticky_by="",
            shadow="",
            bake="5m",
            guards=(guard,),
            keep_old=False,
        )
        return plan_body(2, words)

    assert body("data_quality=off")["guardrails"] == {"data_quality": "off"}
    assert body("violation_share=0.05")["guardrails"] == {"violation_share": 0.05}
    with pytest.raises(InvalidArgumentError, match="one of auto, off, compared, limited is"):
        body("data_quality=on")


def test_a_limit_of_nothing_is_refused() -> None:
    """No test can judge by it."""
    with pytest.raises(InvalidArgumentError, match="violation_share"):
        require_sound(Plan(guardrails=Guardrails(violation_share=0)))


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.3), st.floats(0.05, 0.9))
def test_a_watch_is_read_as_it_was_written(seed: int, rate: float, share: float) -> None:
    """In the middle of everything; and however windows cut calls, nothing fails."""
    random = np.random.default_rng(seed)
    watch = Watch()
    for _ in range(10):
        count = int(random.binomial(60, share))
        sides = [
            calls(
                n,
                refused=(r := int(random.binomial(n, rate))),
                broken=int(random.binomial(n - r, rate)),
            )
            for n in (count, 60 - count)
        ]
        watch = observe(watch, Window(duration_s=1, candidate=sides[0], live=sides[1]), COMPARED)

    assert read_again(watch) == watch
    assert watch.quality.candidate.judged_count + watch.quality.live.judged_count == 600


def test_counts_of_workers_add_up_and_differ() -> None:
    """What is the sum of two is their difference again, and travels as JSON."""
    one, other = calls(30, refused=2, broken=1), calls(50, refused=3)

    both = one + other

    assert both.quality - other.quality == one.quality
    assert msgspec.json.decode(msgspec.json.encode(both), type=TrafficDelta) == both
