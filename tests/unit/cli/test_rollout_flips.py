"""Flips, read off the record of rollouts."""

from datetime import UTC, datetime, timedelta

import pytest

from serving.cli.load.flips import Flip, judge
from serving.cli.load.ledger import Heading
from serving.cli.load.rollout_flips import rollout_flips
from serving.edge.control import RolloutReport
from serving.registry.rollouts.plan import Plan
from serving.registry.rollouts.record import Rollout, RolloutState, Transition

START = datetime(2026, 1, 1, tzinfo=UTC)
HEAD = Heading(model="m", monotonic_s=0.0, utc=START)
State = RolloutState


def report(*states: RolloutState, old: int = 1, new: int = 2, at_s: int = 0) -> RolloutReport:
    """A rollout that went through these states, one second each."""
    times = [START + timedelta(seconds=at_s + index) for index in range(len(states))]
    return RolloutReport(
        rollout=Rollout(
            id=1,
            model="m",
            from_version=old,
            to_version=new,
            plan=Plan(),
            state=states[-1],
            since_utc=times[-1],
            who="a",
            created_utc=START,
        ),
        transitions=tuple(
            Transition(number=1, at_utc=at_utc, state=state, step=0, who="a", reason="")
            for at_utc, state in zip(times, states, strict=True)
        ),
    )


def flip(old: str, new: str, began_s: float, done_s: float) -> Flip:
    """A flip."""
    return Flip(from_version=old, to_version=new, began_s=began_s, done_s=done_s)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ((State.PREFLIGHT, State.FAILED), []),
        ((State.VERIFYING, State.SWITCHED, State.COMPLETE), [flip("1", "2", 1, 2)]),
        ((State.CANARY, State.CANARY, State.SWITCHED, State.COMPLETE), [flip("1", "2", 0, 3)]),
        ((State.VERIFYING, State.SWITCHED), [flip("1", "2", 1, float("inf"))]),
        (
            (State.CANARY, State.ROLLING_BACK, State.ROLLED_BACK),
            [flip("1", "2", 0, 1), flip("2", "1", 1, 2)],
        ),
    ],
    ids=["never-moved", "blue-green", "canary", "under-way", "rolled-back"],
)
def test_a_flip_lies_between_records(
    states: tuple[RolloutState, ...], expected: list[Flip]
) -> None:
    """It begins no earlier than the first record of traffic, and is done by the one after it."""
    assert list(rollout_flips([report(*states)], HEAD)) == expected


def test_rollouts_of_a_model_follow_one_another() -> None:
    """Given newest first, as the instance lists them, they are flips in the order of time."""
    there = report(State.SWITCHED, State.COMPLETE)
    back = report(State.SWITCHED, State.COMPLETE, old=2, new=1, at_s=5)

    found = rollout_flips([back, there], HEAD)

    assert found == (flip("1", "2", 0, 1), flip("2", "1", 5, 6))
    assert judge([], found).is_clean()
