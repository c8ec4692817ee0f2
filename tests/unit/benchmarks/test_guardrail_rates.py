"""The table of alarms and delays is made from simulated rollouts."""

from benchmarks.guardrail_rates import CAUSES, WITHOUT_CAUSE, calls_to_alarm


def test_a_rollout_without_cause_ends_with_no_alarm() -> None:
    """The first of each kind goes through three windows."""
    assert {calls_to_alarm(scenario, 0, 3) for scenario in WITHOUT_CAUSE} == {0}


def test_a_cause_is_found_after_the_same_calls_each_time() -> None:
    """A simulation depends on its seed only."""
    cause = CAUSES[3]

    assert 0 < calls_to_alarm(cause, 1, 50) == calls_to_alarm(cause, 1, 50)
