"""What a rollout would do: its states and times, and whether both versions fit."""

import pytest

from serving.registry.rollouts.forecast import Need, Room, downtime, misfit, need_of, stages
from serving.registry.rollouts.plan import Plan, Step, Strategy
from serving.registry.rollouts.record import RolloutState

State = RolloutState
CANARY = Plan(
    strategy=Strategy.CANARY, steps=(Step(share=100, hold_s=60), Step(share=5000)), bake_s=300
)
RECREATE = Plan(strategy=Strategy.RECREATE)


def test_the_states_are_those_that_the_machine_passes() -> None:
    """A canary passes its steps; what is known of its times is summed, not guessed."""
    found = stages(CANARY, 0, 2.5)
    assert [one.state for one in found] == [
        State.PREFLIGHT,
        State.LOADING,
        State.VERIFYING,
        State.CANARY,
        State.CANARY,
        State.SWITCHED,
        State.COMPLETE,
    ]
    assert sum(one.at_least_s for one in found) == 2.5 + 60 + 300
    assert stages(CANARY, 2, 0)[0].state is State.PENDING


def test_what_was_measured_counts_and_the_rest_is_called_an_estimate() -> None:
    """A measured figure gets a margin; without one the size is multiplied, and says so."""
    measured = need_of(10, 1000, 0, is_cuda=False, replicas=2)
    assert measured == Need(host_bytes=2200)
    guessed = need_of(1000, 0, 0, is_cuda=True, replicas=1)
    assert guessed == Need(host_bytes=2000, gpu_bytes=1500, is_estimate=True)


@pytest.mark.parametrize(
    ("plan", "new", "room", "told"),
    [
        (CANARY, Need(host_bytes=100), Room(host_bytes=100), ""),
        (CANARY, Need(host_bytes=2 * 10**9), Room(host_bytes=10**9), "2.00 GB of memory"),
        (CANARY, Need(host_bytes=1, gpu_bytes=9), Room(host_bytes=9, gpu_bytes=5), "GPU memory"),
        (CANARY, Need(host_bytes=1, gpu_bytes=9), Room(host_bytes=9), ""),
        (CANARY, None, Room(host_bytes=0), ""),
        (CANARY, Need(host_bytes=100), None, ""),
        (RECREATE, Need(host_bytes=120), Room(host_bytes=30), ""),
        (RECREATE, Need(host_bytes=140), Room(host_bytes=30), "memory"),
    ],
)
def test_only_what_is_known_not_to_fit_is_refused(
    plan: Plan, new: Need | None, room: Room | None, told: str
) -> None:
    """A recreate has what the old version takes besides; what nobody knows refuses nothing."""
    found = misfit(plan, new, Need(host_bytes=100), room)
    assert bool(found) is bool(told)
    assert told in found


def test_downtime_is_that_of_a_recreate_and_honest() -> None:
    """The last load's time where there was one; else that nobody has measured it."""
    assert downtime(CANARY, 1) == ""
    assert "about 3.0 s" in downtime(RECREATE, 3)
    assert "nobody has measured" in downtime(RECREATE, 0)
