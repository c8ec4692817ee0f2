"""Rollouts on a real instance: what moves, what is taken back, and what outlives a death."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from serving.ids import VersionKey
from serving.local_http import LocalHttp
from serving.registry.aliases import Author
from serving.registry.rollouts.book import RolloutBook
from serving.registry.rollouts.plan import Guardrails, Plan, Step, Strategy
from serving.registry.rollouts.record import Order, Rollout, RolloutState
from serving.registry.store import Registry
from serving.registry.version import VersionState
from serving.rollout.engine.guardrails import Ruling
from serving.rollout.engine.machine import Readiness, Sight, next_change, ordered
from tests.fakes.pushed import push_versions
from tests.fakes.standalone_server import Server, serving

State = RolloutState
READY = Sight(candidate=VersionState.READY, is_obeyed=True, ruling=Ruling.ENOUGH)
QUICK = Plan(
    strategy=Strategy.CANARY,
    steps=(Step(share=5000),),
    shadow_call_count=1,
    bake_s=0.0,
)


@pytest.fixture(name="home")
def home_with_two_versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with versions 1 (live) and 2 of `m`."""
    home = tmp_path_factory.mktemp("h")
    push_versions(home)
    return home


def started(server: Server, **body: object) -> dict[str, object]:
    """Begin a rollout to version 2."""
    return server.admin("POST", "/v1/models/m/rollout", {"version": 2, **body})


def states(server: Server) -> dict[int, str]:
    """Return the state of each version."""
    versions = server.admin("GET", "/v1/status")["versions"]
    return {one["version"]: one["state"] for one in versions}  # type: ignore[union-attr]


def until(server: Server, state: RolloutState) -> None:
    """Wait for the latest rollout to stand somewhere."""
    server.until(lambda: server.rollout_state() == state, f"the rollout is {state}")


def test_blue_green_moves_all_calls_and_lets_the_old_version_go(home: Path) -> None:
    """After the flip each call gets version 2; at the end version 1 is not loaded any more."""
    with serving(home) as server:
        before = server.answer("m")[1]
        started(server, bake_s=0)
        until(server, State.COMPLETE)
        assert (before, server.answer("m")[1]) == ("1", "2")
        server.until(lambda: states(server) == {1: "UNAVAILABLE", 2: "READY"}, "1 is gone")


def test_an_abort_during_the_bake_goes_back_at_once(home: Path) -> None:
    """`live` is version 1 at every edge when the abort has returned; the candidate is let go."""
    with serving(home) as server:
        started(server, bake_s=600)
        until(server, State.SWITCHED)  # recorded; edges obey just after
        server.until(lambda: server.answer("m")[1] == "2", "the flip is obeyed")
        server.admin("POST", "/v1/models/m/rollout/abort", {"reason": "scores look wrong"})
        assert server.answer("m")[1] == "1"
        until(server, State.ROLLED_BACK)
    with Registry(home) as registry:
        told = {(one.action, one.reason) for one in registry.events("m")}
    assert ("rollout_step", "aborted: scores look wrong") in told


def test_a_rollback_after_the_end_loads_the_old_version_again(home: Path) -> None:
    """Also when nothing of it is loaded: it returns when version 1 answers."""
    with serving(home) as server:
        started(server, bake_s=0)
        until(server, State.COMPLETE)
        server.admin("POST", "/v1/models/m/rollback", {})
        assert server.answer("m")[1] == "1"


def test_nobody_else_moves_what_a_rollout_moves(home: Path) -> None:
    """A promotion and a second rollout are refused, and told which rollout is in the way."""
    with serving(home) as server:
        started(server, bake_s=600)
        until(server, State.SWITCHED)
        for path in ("promote", "rollout"):
            refusal = refused(server, f"/v1/models/m/{path}", {"version": 1})
            assert refusal == (409, "rollout 1")


def refused(server: Server, path: str, body: object) -> tuple[int, str]:
    """Return the status and the first two words of a refusal."""

    async def ask() -> tuple[int, str]:
        async with LocalHttp(str(server.home / "run" / "admin.sock")) as admin:
            reply = await admin.ask("POST", path, json.dumps(body).encode(), timeout_s=60)
            return reply.status, " ".join(json.loads(reply.body)["error"].split()[:2])

    return asyncio.run(ask())


STATES = (
    State.PENDING,
    State.PREFLIGHT,
    State.LOADING,
    State.VERIFYING,
    State.SHADOW,
    State.CANARY,
    State.SWITCHED,
)


def test_an_instance_that_died_goes_on_from_every_state(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Killed after a transition was recorded and before anything followed from it: it follows.

    (Killed before it was recorded, the state before was the last: the case before this one.) Each
    state is that of another model's rollout.
    """
    home = tmp_path_factory.mktemp("h")
    models = {state: f"m{number}" for number, state in enumerate(STATES)}
    for model in models.values():
        push_versions(home, model=model)
    with Registry(home) as registry:
        for state, model in models.items():
            taken_to(RolloutBook(registry), state, model)
    with serving(home) as server:
        for state, model in models.items():
            server.until(lambda m=model: is_complete(server, m), f"the end of one that was {state}")
            assert server.answer(model)[1] == "2"


def is_complete(server: Server, model: str) -> bool:
    """Whether its rollout has ended well; steps that wait for calls are skipped."""
    listed: Any = server.admin("GET", "/v1/rollouts")
    (state,) = [one["state"] for one in listed if one["model"] == model]
    if state in {State.SHADOW, State.CANARY}:
        server.admin("POST", f"/v1/models/{model}/rollout/skip-step", {})
    return bool(state == State.COMPLETE)


def test_an_instance_that_died_while_it_rolled_back_rolls_back(home: Path) -> None:
    """Version 1 answers, and the candidate is let go."""
    with Registry(home) as registry:
        book = RolloutBook(registry)
        rollout = taken_to(book, State.SWITCHED)
        change = ordered(rollout, Order.ABORT, "it was wrong", Readiness())
        assert book.record(rollout, change, "ann") is not None
    with serving(home) as server:
        until(server, State.ROLLED_BACK)
        assert server.answer("m")[1] == "1"


def taken_to(book: RolloutBook, state: RolloutState, model: str = "m") -> Rollout:
    """Record a rollout as far as a state, as an instance would that died then."""
    seen = replace(READY, call_count=1)
    rollout = book.begin(VersionKey(model, 2), 1, QUICK, Author(who="ann"))
    while rollout.state is not state:
        change = next_change(rollout, seen, rollout.since_utc + timedelta(seconds=1))
        assert change is not None
        after = book.record(rollout, change, "engine")
        assert after is not None
        rollout = after
    return rollout


def test_a_rollout_that_the_engine_cannot_judge_ends_nothing_else(home: Path) -> None:
    """The instance serves on, the report says what failed, and an abort ends it."""
    broken = Guardrails(alpha=0.0)  # no door lets it in: as if by an engine of another release
    step = Step(share=5000, hold_s=600)
    plan = Plan(strategy=Strategy.CANARY, steps=(step,), guardrails=broken)
    with serving(home) as server:
        with Registry(home) as registry:
            RolloutBook(registry).begin(VersionKey("m", 2), 1, plan, Author(who="ann"))
        server.until(lambda: "engine failed" in seen(server), "the report says it")
        server.answer("m")
        server.admin("POST", "/v1/models/m/rollout/abort", {})
        until(server, State.FAILED)
        assert server.answer("m")[1] == "1"


def seen(server: Server) -> str:
    """Return what the guardrails of the first rollout see."""
    return str(server.admin("GET", "/v1/rollouts/1")["seen"])
