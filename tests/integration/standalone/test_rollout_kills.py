"""Workers, HAProxy and the registry's database end in the middle of a rollout, under load."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from serving.registry.aliases import aliases_of
from serving.registry.rollouts.record import RolloutState
from serving.registry.store import Registry
from tests.fakes import postgres
from tests.fakes.callers import calling
from tests.fakes.pushed import push_versions
from tests.fakes.standalone_server import Server, serving

State = RolloutState
TWO_WORKERS = "instance_group [ { count: 2 kind: KIND_CPU } ]\n"
PLAN = {
    "version": 2,
    "strategy": "canary",
    "steps": [{"share_percent": 50, "hold_s": 600}],
    "bake_s": 600,
    "guardrails": {"mismatch_share": -1, "latency_ratio": 0, "restart_count": 0},
}
"""It moves only when a step is skipped: in none of its states can a test come too late. How quick a
worker is, and how often it was killed, ends nothing here."""


def until(server: Server, state: RolloutState) -> None:
    """Wait for the latest rollout to stand somewhere."""

    def stands() -> bool:
        newest = server.admin("GET", "/v1/rollouts")[0]  # type: ignore[index]  # a list
        return bool(newest["state"] == state)

    server.until(stands, f"the rollout is {state}")


def skip_to(server: Server, state: RolloutState) -> None:
    """End the state that a rollout waits in."""
    server.admin("POST", "/v1/models/m/rollout/skip-step", {})
    until(server, state)


def kill_worker(server: Server, version: int) -> None:
    """Kill one worker of a version as a crash would, and wait for the next one."""
    status = server.admin("GET", "/v1/status")
    versions, workers = status["versions"], status["workers"]
    pool = next(one["pool"] for one in versions if one["version"] == version)  # type: ignore[attr-defined]  # parsed JSON
    pid = next(one["pid"] for one in workers if one["pool"] == pool)  # type: ignore[attr-defined]
    os.kill(pid, signal.SIGKILL)
    server.until(lambda: _are_ready(server, pool, without=pid), f"{pool} is whole again")


def _are_ready(server: Server, pool: str, *, without: int) -> bool:
    workers = server.admin("GET", "/v1/status")["workers"]
    assert isinstance(workers, list)
    ready = [one["pid"] for one in workers if (one["pool"], one["state"]) == (pool, "ready")]
    return len(ready) == 2 and without not in ready


def kill_haproxy(server: Server) -> None:
    """Kill HAProxy, and wait for the next one."""

    def running() -> set[int]:
        children = psutil.Process(server.process.pid).children()
        return {child.pid for child in children if "haproxy" in child.name()}

    before = running()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    server.until(lambda: running() - before, "another HAProxy")


def test_a_rollout_goes_on_whatever_process_is_killed(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A worker of the candidate and of the live version: no call fails, and the shares stay.

    HAProxy: what was open breaks; what is answered, before and after, is right.
    """
    home = tmp_path_factory.mktemp("h")
    push_versions(home, config=TWO_WORKERS)
    with serving(home) as server:
        with calling(server.ports[0], server.ports[1], "m") as heard:
            server.admin("POST", "/v1/models/m/rollout", PLAN)
            until(server, State.CANARY)
            for version in (2, 1):
                kill_worker(server, version)
                heard.until_more(50)
            assert set(heard.answered) == {"1", "2"}
            skip_to(server, State.SWITCHED)
            heard.until_more(50)
        assert (heard.refused, heard.broken) == ([], [])
        with calling(server.ports[0], server.ports[1], "m") as heard:
            kill_haproxy(server)
            heard.until_more(50)
            skip_to(server, State.COMPLETE)
            heard.until_more(50)
        assert heard.refused == []
        assert set(heard.answered) == {"2"}


@contextmanager
def database() -> Iterator[postgres.Postgres]:
    """A PostgreSQL server of its own, running."""
    if postgres.programs() is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="bascule-pg-"))
    folder.chmod(0o755)  # the server's user must pass
    server = postgres.prepared(folder / "server")
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@pytest.mark.long
def test_a_rollout_goes_on_after_its_database_was_away(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL restarts in the canary and after the flip: no call fails, and the end is right."""
    home = tmp_path_factory.mktemp("h")
    with database() as stored:
        monkeypatch.setenv("BASCULE_REGISTRY_URL", stored.url)
        push_versions(home, stored.url)
        with serving(home) as server, calling(server.ports[0], server.ports[1], "m") as heard:
            server.admin("POST", "/v1/models/m/rollout", PLAN)
            until(server, State.CANARY)
            for state in (State.SWITCHED, State.COMPLETE):
                stored.stop()
                heard.until_more(400)
                stored.start()
                heard.until_more(50)
                skip_to(server, state)
            assert server.answer("m")[1] == "2"
        assert (heard.refused, heard.broken) == ([], [])
        with Registry(home, url=stored.url) as registry:
            live = {one.name: one.version for one in aliases_of(registry, "m")}
        assert live["live"] == 2
