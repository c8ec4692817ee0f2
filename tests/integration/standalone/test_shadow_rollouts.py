"""Rollouts that compare answers first, on a real instance."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from serving.registry.rollouts.record import RolloutState
from tests.fakes import models
from tests.fakes.shadow_home import MARK, ask_rows, push_versions
from tests.fakes.standalone_server import Server, serving

PLAN = {"version": 2, "strategy": "shadow", "shadow_call_count": 40, "bake_s": 0}


@pytest.fixture(name="home")
def short_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose sockets' paths are short enough."""
    return tmp_path_factory.mktemp("h")


def newest(server: Server) -> Mapping[str, str]:
    """The latest rollout."""
    return server.admin("GET", "/v1/rollouts")[0]  # type: ignore[index,return-value]  # a list


def ended(server: Server) -> tuple[Mapping[str, str], list[tuple[str, bool]]]:
    """Roll out under load; return the rollout at its end, and what clients got."""
    server.admin("POST", "/v1/models/m/rollout", PLAN)
    answers: list[tuple[str, bool]] = []

    def has_ended() -> bool:
        answers.append(ask_rows(server.ports[0]))
        return newest(server)["state"] in {RolloutState.COMPLETE, RolloutState.ROLLED_BACK}

    server.until(has_ended, "the rollout has ended")
    return newest(server), answers


def test_a_candidate_that_is_wrong_on_one_row_of_fifty_gets_no_traffic(home: Path) -> None:
    """Copies find it: it is rolled back with the figures, and no client ever met it."""
    push_versions(home, models.tiny_off(MARK, 0.5))
    with serving(home) as server:
        rollout, answers = ended(server)
    assert rollout["state"] == RolloutState.ROLLED_BACK
    assert "'y' is off by up to 0.5" in rollout["note"]
    assert set(answers) == {("1", True)}


def test_a_candidate_that_agrees_goes_live(home: Path) -> None:
    """Every answer is right, before and after."""
    push_versions(home, models.tiny("B"))
    with serving(home) as server:
        rollout, answers = ended(server)
    assert rollout["state"] == RolloutState.COMPLETE
    assert {is_right for _, is_right in answers} == {True}
