"""What a file of models asks for: precise refusals, and only what differs is done."""

from dataclasses import replace

import pytest

from runtimes.errors import InvalidArgumentError
from serving.cli.apply_plan import Seen, differences, waits_for_people
from serving.cli.models_file import parse_models
from serving.registry.rollouts.plan import Plan, Strategy
from serving.registry.rollouts.record import Rollout, RolloutState
from tests.fakes.rollouts import rollout_record

CANARY = b"""
models:
  m:
    version: 2
    strategy: canary
    steps: [1%:60s, 50%]
    approvals: 1
    guardrails: {latency_ratio: 2}
    limits: {load: 10m}
"""
SEEN = Seen(live={"m": 1}, versions={"m": frozenset({1, 2})}, rules={"m": 1}, latest={})


def test_a_file_becomes_what_the_command_line_would_say() -> None:
    """Steps, guardrails and waits are those of `bascule rollout start`."""
    (found,) = parse_models(CANARY, "f")
    assert (found.model, found.version, found.approvals) == ("m", 2, 1)
    assert found.body["guardrails"] == {"latency_ratio": 2}
    assert found.body["steps"] == [
        {"share_percent": 1.0, "hold_s": 60.0, "call_count": 0},
        {"share_percent": 50.0, "hold_s": 0.0, "call_count": 0},
    ]
    assert found.body["bake_s"] == 300
    assert found.body["load_limit_s"] == 600


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("m: {version: two}", "models.m.version: 'two' came, a valid integer is expected"),
        ("m: {strategy: canary}", "models.m.version is missing"),
        ("m: {version: 2, strategi: ab}", "models.m.strategi is no field; did you mean strategy?"),
        ("m: {version: 2, strategy: canry}", "models.m.strategy: 'canry' came, 'blue-green'"),
        ("m: {version: 2, steps: [50%]}", "models.m: steps: a blue-green rollout has none"),
        ("m: {version: 2, bake: soon}", "models.m: --bake 'soon': how long as 90s"),
        ("m: {version: 2, guardrails: {alpha: 2}}", "models.m.guardrails.alpha: '2' came, less"),
        ("m: {version: 2, strategy: rollback}", "models.m: strategy: a rollback is not started so"),
        ("m: {version: 2}\n  m: {version: 3}", "'m' comes twice"),
        ("m: {version: 2, limits: {laod: 1m}}", "--limit 'laod': one of approval, load, verify"),
        ("m: [", "it cannot be read as YAML"),
        ("'a/b': {version: 2}", "models.a/b: "),
        ("m: {version: 010}", "'010': write a number in plain digits"),
        ("m: {version: 1:30}", "'1:30': write a number in plain digits"),
        ("m: {version: 2, reason: 2026-01-01}", "a valid string is expected: put it in quotes"),
        ("on: {version: 2}", "'True' came, a valid string is expected: put it in quotes"),
        ('"\\ud800": {version: 2}', r": invalid model name '\ud800'"),
        ("m: {version: [[1, 2], [3]]}", "[[1, 2], [3]] came, a valid integer is expected"),
    ],
)
def test_what_cannot_be_is_named(text: str, told: str) -> None:
    """The field, what came and what was expected are in the message, with the file's name."""
    with pytest.raises(InvalidArgumentError) as refused:
        parse_models(f"models:\n  {text}".encode(), "models.yaml")
    assert refused.value.message.startswith("models.yaml: ")
    assert told in refused.value.message


def test_nothing_is_done_where_nothing_differs() -> None:
    """What is live already, and what is under way already, is not started again."""
    wanted = parse_models(CANARY, "f")
    assert differences(wanted, replace(SEEN, live={"m": 2}), retry=False) == ()
    moving = replace(SEEN, latest={"m": rollout_record(state=RolloutState.CANARY)})
    (found,) = differences(wanted, moving, retry=False)
    assert (found.starts, found.follows) == (False, 1)


def test_what_differs_is_done() -> None:
    """Another live version is a rollout, other approvals are a rule."""
    rule, move = differences(parse_models(CANARY, "f"), replace(SEEN, rules={}), retry=False)
    assert (rule.requires, rule.text) == (1, "approvals 0 → 1")
    assert (move.starts, move.text) == (True, "live 1 → 2, canary 1%:60s, 50%")


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (replace(SEEN, versions={"m": frozenset({1})}), "m:2 is not there: it has 1"),
        (replace(SEEN, latest={"m": rollout_record(to_version=3)}), "rollout abort m"),
        (
            replace(
                SEEN,
                latest={"m": rollout_record(to_version=3, state=RolloutState.ROLLING_BACK)},
            ),
            "rollout skip-step m",
        ),
        (
            replace(
                SEEN, latest={"m": rollout_record(state=RolloutState.ROLLED_BACK, note="slow")}
            ),
            "ended ROLLED_BACK (slow): start it again with --retry",
        ),
        (
            replace(
                SEEN,
                latest={
                    "m": rollout_record(
                        state=RolloutState.COMPLETE,
                        from_version=2,
                        to_version=1,
                        plan=Plan(strategy=Strategy.ROLLBACK),
                    )
                },
            ),
            "took its traffic away",
        ),
    ],
)
def test_what_people_must_decide_is_not_done(seen: Seen, told: str) -> None:
    """A rollback is not undone by the next run, and nobody's rollout is ended."""
    (found,) = differences(parse_models(CANARY, "f"), seen, retry=False)
    assert not found.starts
    assert told in found.blocked


def test_a_retry_starts_what_was_rolled_back() -> None:
    """Somebody who says so may try again."""
    gone = rollout_record(state=RolloutState.ROLLED_BACK)
    (found,) = differences(parse_models(CANARY, "f"), replace(SEEN, latest={"m": gone}), retry=True)
    assert found.starts


@pytest.mark.parametrize(
    ("rollout", "waits"),
    [
        (rollout_record(), False),
        (rollout_record(state=RolloutState.CANARY), False),
        (rollout_record(missing_approval_count=1), True),
        (rollout_record(state=RolloutState.CANARY, is_paused=True), True),
        (rollout_record(state=RolloutState.CANARY, plan=Plan(strategy=Strategy.AB)), True),
        (rollout_record(state=RolloutState.LOADING, plan=Plan(strategy=Strategy.AB)), False),
    ],
)
def test_what_waits_for_people_is_not_waited_for(rollout: Rollout, waits: bool) -> None:  # noqa: FBT001  a case's answer
    """Without an approval, while it is paused, and in a split, nothing happens by itself."""
    assert waits_for_people(rollout) is waits
