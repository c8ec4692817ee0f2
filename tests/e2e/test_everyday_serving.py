"""An instance on Ray from the outside: calls, operators' commands, Serve's own tools."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc

from serving.cluster.ray_process import SESSION_NICENESS, ray_environment
from serving.registry.rollouts.record import RolloutState
from serving.settings import load_settings
from tests.e2e.ray_instance import ANSWER, LIMIT_S, Instance, grpc_answer, until
from tests.fakes import models
from tests.fakes.shadow_home import MARK, ask_rows, push_versions

pytestmark = pytest.mark.e2e

AUTOGROUP = Path("/proc/self/autogroup")
PIPELINE = """
import json, sys
import numpy as np, ray
from ray import serve
from serving.errors import NotFoundError
ray.init(address=sys.argv[1], log_to_driver=False)
handle = serve.get_app_handle("bascule-pool-" + sys.argv[2])
row = np.ones((1, 16), np.float32)
answer = handle.infer.remote("plain", {"x": row}, version=1).result()["y"]
try:
    handle.infer.remote("nobody", {"x": row}).result()
    refused = ""
except NotFoundError as error:
    refused = error.message
print(json.dumps({"answer": answer.tolist(), "refused": refused}))
"""


def pool_of(running: Instance, model: str) -> str:
    """The pool that a model's versions are in."""
    versions = running.status()["versions"]
    assert isinstance(versions, list)
    return next(str(one["pool"]) for one in versions if one["model"] == model)


def test_http_calls_are_answered(running: Instance) -> None:
    """A call over HTTP gets the model's answer, of the highest version."""
    reply = running.predict("plain")
    assert reply["model_version"] == "2"
    assert reply["outputs"] == [
        {"name": "y", "shape": [1, 4], "datatype": "FP32", "data": ANSWER[0].tolist()}
    ]


def test_grpc_calls_are_answered(running: Instance) -> None:
    """A call over gRPC gets the model's answer."""
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{running.grpc}") as client:
        answer = grpc_answer(client, "plain")
    assert np.array_equal(answer, ANSWER)


def test_serve_status_shows_the_applications(running: Instance) -> None:
    """Serve's own command sees controller, edge and pools, all of them running."""
    shown = subprocess.run(
        (Path(sys.executable).with_name("serve"), "status", "-a", running.record().dashboard),
        env=running.environment | {"RAY_AUTH_MODE": "token"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    expected = ["bascule-controller:", "bascule-edge:", f"bascule-pool-{pool_of(running, 'pair')}:"]
    assert [name for name in expected if name not in shown.stdout] == [], shown.stderr
    assert "UNHEALTHY" not in shown.stdout


def test_who_answers_callers_stands_back_for_nobody(running: Instance) -> None:
    """HAProxy, workers and the edge's actor compute like everybody; all of Ray stands back."""
    until(lambda: serving_niceness(running) == {0}, "nobody who serves stands back")
    if AUTOGROUP.exists():
        raylet = running.processes("raylet/raylet")[0]
        until(lambda: session_niceness(raylet.pid) == SESSION_NICENESS, "Ray does")
        assert session_niceness(os.getpid()) != SESSION_NICENESS  # `up` is run in it


def serving_niceness(running: Instance) -> set[int]:
    """The niceness of HAProxy, workers and the edge's actor, and of their sessions."""
    edge = running.processes("EdgeReplica")
    serving = [*running.processes("haproxy"), *running.processes("serving.worker"), *edge]
    assert len(serving) > 2
    of_sessions = [session_niceness(one.pid) for one in serving] if AUTOGROUP.exists() else []
    return {process.nice() for process in serving}.union(of_sessions)


def session_niceness(pid: int) -> int:
    """Return the niceness of a process's session; that which everything began in says nothing."""
    return sum(int(word) for word in Path(f"/proc/{pid}/autogroup").read_text().split()[-1:])


def test_promote_swings_the_traffic(running: Instance) -> None:
    """After `promote` returned, calls without a version are answered by the promoted one."""
    promoted = running.run("promote", "plain", "--to", "1")
    assert promoted.returncode == 0, promoted.stderr
    assert running.predict("plain")["model_version"] == "1"


def test_other_ray_code_predicts_by_handle(running: Instance) -> None:
    """A `DeploymentHandle` gives arrays for arrays, and the error tree's errors."""
    settings = load_settings(home=running.home)
    environment = ray_environment(settings, "pipeline") | running.environment
    ended = subprocess.run(
        (sys.executable, "-c", PIPELINE, running.record().address, pool_of(running, "plain")),
        env=environment | {"RAY_AUTH_MODE": "token"},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout.splitlines()[-1])
    assert said["answer"] == ANSWER.tolist()
    assert "nobody" in said["refused"]


def test_a_second_instance_is_refused(running: Instance) -> None:
    """A second `up` in the same home says so in one sentence, with the remedy."""
    second = running.up()
    assert second.returncode == 1
    assert "already runs" in second.stderr
    assert "BASCULE_HOME" in second.stderr


def test_standalone_is_refused_beside_it(running: Instance) -> None:
    """`serve` in the same home does not disturb the instance on Ray."""
    beside = running.run("serve", "--http", "127.0.0.1:1", "--model-repository", str(running.home))
    assert beside.returncode == 1
    assert "already runs" in beside.stderr


def test_a_wrong_candidate_gets_no_traffic(running: Instance) -> None:
    """Copies travel between replicas and find it: it is rolled back, and no client ever met it."""
    push_versions(running.home, models.tiny_off(MARK, 0.5))
    until(lambda: ask_rows(running.http) == ("1", True), "version 1 answers")
    words = ("--to", "2", "--strategy", "shadow", "--shadow", "40", "--bake", "0s")
    begun = running.run("rollout", "start", "m", *words)
    assert begun.returncode == 0, begun.stderr
    answers: list[tuple[str, bool]] = []

    def newest() -> dict[str, str]:
        return dict(running.admin("GET", "/v1/rollouts")[0])  # type: ignore[index]  # a list

    def has_ended() -> bool:
        answers.extend(ask_rows(running.http) for _ in range(20))
        return newest()["state"] == RolloutState.ROLLED_BACK

    until(has_ended, "it is rolled back")
    assert "'y' is off by up to 0.5" in newest()["note"]
    assert set(answers) == {("1", True)}
    report = running.run("rollout", "report", str(newest()["id"]))
    assert report.returncode == 0, report.stderr
    assert "It was taken back: version 1 then answered as before." in report.stdout
    assert "| mismatch | " in report.stdout
    assert "| BREACHED |" in report.stdout
