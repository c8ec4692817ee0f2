"""Parts of an instance on Ray are killed while calls are made."""

from typing import Any

import pytest

from tests.e2e.ray_instance import Callers, Instance, until
from tests.fakes import models

pytestmark = pytest.mark.e2e

UNHURRIED = (
    "--guard",
    "mismatch_share=-1",
    "--guard",
    "latency_ratio=0",
    "--guard",
    "restart_count=0",
)
"""How quick a worker is, and how often it was killed, ends no rollout."""


def replaced(running: Instance, words: str) -> int:
    """Kill one process with these words in its command line; return when another has them."""
    until(lambda: running.processes(words), words)
    victims = running.processes(words)
    victims[0].kill()
    before = {process.pid for process in victims}
    until(
        lambda: bool({process.pid for process in running.processes(words)} - before),
        f"another {words}",
    )
    return victims[0].pid


def workers_of(running: Instance, *models: str) -> set[int]:
    """Process ids of the workers that serve models."""
    pools = {running.version(model, 2)["pool"] for model in models}
    return {one.pid for pool in pools for one in running.processes(f"--worker {pool}-")}


def test_calls_go_on_without_the_controller(running: Instance) -> None:
    """The controller is needed for changes only, and resumes what runs without restarting it."""
    workers = workers_of(running, "plain", "pair")
    with Callers(running, "pair") as callers:
        replaced(running, "ControllerReplica")
        until(lambda: running.status()["ready"] is True, "a status of the new controller")
        callers.until_answers(200)
    assert callers.failures == []
    assert workers_of(running, "plain", "pair") == workers


def test_a_resumed_controller_makes_changes(running: Instance) -> None:
    """A controller that was killed and came back promotes as before."""
    other = str(3 - int(str(running.predict("plain")["model_version"])))
    replaced(running, "ControllerReplica")
    until(lambda: running.run("promote", "plain", "--to", other).returncode == 0, "a promotion")
    assert running.predict("plain")["model_version"] == other


def test_a_resumed_controller_keeps_what_serves_of_a_refused_form(running: Instance) -> None:
    """A model whose newer file preflight refuses is answered by the older one, kill or not."""
    file = running.home / "models" / "plain" / "2" / "model.onnx"
    whole = file.read_bytes()
    file.unlink()  # workers may have mapped the older one
    file.write_bytes(models.bad_operator())
    running.admin("POST", "/v1/sync")
    replaced(running, "ControllerReplica")
    until(lambda: "still served" in str(running.version("plain", 2)["reason"]), "the new status")
    with Callers(running, "plain") as callers:
        running.admin("POST", "/v1/sync")
        callers.until_answers(200)
    assert callers.failures == []
    file.write_bytes(whole)
    running.admin("POST", "/v1/sync")
    until(lambda: not running.version("plain", 2)["reason"], "the whole file's version")


def test_a_killed_worker_costs_no_call(running: Instance) -> None:
    """With two replicas, calls to the one that died are answered by the other."""
    with Callers(running, "pair") as callers:
        replaced(running, f"--worker {running.version('pair', 2)['pool']}-")
        callers.until_answers(200)
    assert callers.failures == []


def test_a_killed_worker_comes_back_from_the_template(running: Instance) -> None:
    """The node's edge keeps it, whichever actor the worker is of."""

    def is_forked() -> bool:
        replaced(running, "--worker s")
        templates = {one.pid for one in running.processes("serving.worker.template")}
        return {one.ppid() for one in running.processes("--worker s")} <= templates

    until(is_forked, "it is forked, not started as while the template is made anew")


def test_a_killed_haproxy_comes_back_by_itself(running: Instance) -> None:
    """HAProxy's end is noticed, and the next one knows every route from its first moment."""
    with Callers(running, "plain") as callers:
        replaced(running, "bin/haproxy")
        callers.until_answers(200)
    assert [text for text in callers.failures if "unknown model" in text] == []


def test_a_killed_edge_actor_costs_no_call(running: Instance) -> None:
    """HAProxy outlives its supervisor, and the next supervisor adopts it."""
    haproxy = [process.pid for process in running.processes("bin/haproxy")]
    with Callers(running, "plain") as callers:
        replaced(running, "EdgeReplica")
        until(lambda: running.status()["ready"] is True, "a status by the new edge")
        callers.until_answers(200)
    assert callers.failures == []
    assert [process.pid for process in running.processes("bin/haproxy")] == haproxy


def test_a_rollout_goes_on_whatever_part_is_killed(running: Instance) -> None:
    """The controller in the canary and after the flip, the edge's actor: no call fails."""
    live = int(str(running.predict("plain")["model_version"]))
    other = 3 - live  # it has versions 1 and 2
    words = ("--to", str(other), "--strategy", "canary", "--steps", "20%:600s", "--bake", "600s")
    with Callers(running, "plain") as callers:
        begun = running.run("rollout", "start", "plain", *words, *UNHURRIED)
        assert begun.returncode == 0, begun.stderr
        until(lambda: stands(running, "CANARY"), "the candidate has its share")
        replaced(running, "ControllerReplica")
        callers.until_answers(200)
        replaced(running, "EdgeReplica")
        until(lambda: has_left(running, "CANARY"), "the flip")
        replaced(running, "ControllerReplica")
        until(lambda: stands(running, "SWITCHED"), "the new controller goes on")
        until(lambda: running.predict("plain")["model_version"] == str(other), "it is obeyed")
        until(lambda: has_left(running, "SWITCHED"), "the end")
        until(lambda: stands(running, "COMPLETE"), "it is complete")
        callers.until_answers(200)
    assert callers.failures == []


@pytest.mark.long
def test_a_rollout_goes_on_without_workers_and_haproxy(running: Instance) -> None:
    """A worker of the candidate and of the live version: no call fails. HAProxy: it ends right."""
    live = int(str(running.predict("pair")["model_version"]))
    other = 3 - live
    words = ("--to", str(other), "--strategy", "canary", "--steps", "20%:600s", "--bake", "600s")
    with Callers(running, "pair") as callers:
        begun = running.run("rollout", "start", "pair", *words, *UNHURRIED)
        assert begun.returncode == 0, begun.stderr
        until(lambda: stands(running, "CANARY", "pair"), "the candidate has its share")
        for version in (other, live):
            replaced(running, f"--worker {running.version('pair', version)['pool']}-")
            until(lambda: running.status()["ready"] is True, "the worker is back")
            callers.until_answers(200)
        until(lambda: has_left(running, "CANARY", "pair"), "the flip")
        until(lambda: stands(running, "SWITCHED", "pair"), "all traffic has moved")
        callers.until_answers(200)
    assert callers.failures == []
    with Callers(running, "pair") as callers:
        replaced(running, "bin/haproxy")
        until(lambda: has_left(running, "SWITCHED", "pair"), "the end")
        until(lambda: stands(running, "COMPLETE", "pair"), "it is complete")
        callers.until_answers(200)
    assert [text for text in callers.failures if "unknown model" in text] == []
    assert running.predict("pair")["model_version"] == str(other)


def stands(running: Instance, state: str, model: str = "plain") -> bool:
    """Whether the latest rollout stands in a state."""
    return state_of(running, model) == state


def has_left(running: Instance, state: str, model: str = "plain") -> bool:
    """Skip the wait in a state, unless that has been done; say whether it has."""
    found = state_of(running, model)
    if found == state:
        running.run("rollout", "skip-step", model)
    return found != state


def state_of(running: Instance, model: str) -> str:
    """The latest rollout's state."""
    listed: Any = running.admin("GET", "/v1/rollouts")
    return str(next(one["state"] for one in listed if one["model"] == model))
