"""What `bascule rollback` says that it has done."""

import pytest

from serving.cli.rollback import told
from serving.registry.rollouts.plan import Plan, Strategy
from serving.registry.rollouts.record import RolloutState
from tests.fakes.rollouts import rollout_record

State = RolloutState


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"plan": Plan(strategy=Strategy.ROLLBACK), "state": State.COMPLETE},
            "version 2 is live at every edge",
        ),
        (
            {"state": State.ROLLED_BACK},
            "rollout 1 to version 2 is taken back; version 1 is live at every edge",
        ),
        (
            {"state": State.FAILED},
            "rollout 1 to version 2 is ended before any call went there; version 1 stays live",
        ),
        (
            {"state": State.FAILED, "from_version": None},
            (
                "rollout 1 to version 2 is ended before any call went there; "
                "nothing is live, as before"
            ),
        ),
        (
            {"state": State.ROLLED_BACK, "from_version": None},
            "rollout 1 to version 2 is taken back; nothing is live, as before",
        ),
    ],
)
def test_only_what_was_swung_is_said_to_be(changes: dict[str, object], text: str) -> None:
    """A rollout that ended before it had traffic swung nothing."""
    assert told(rollout_record(**changes)) == text
