"""A version that pins a package gets, on Ray, a worker in an environment that is built for it."""

from pathlib import Path

import psutil
import pytest

from serving.environments.store import Environments
from tests.e2e.ray_instance import Instance, until

pytestmark = pytest.mark.e2e


def worker_of(running: Instance, model: str) -> psutil.Process:
    """The process that serves a model."""
    pool = running.version(model)["pool"]
    found = running.processes(f"--worker {pool}-")
    assert len(found) == 1, f"{len(found)} workers of {pool}"
    return found[0]


def test_it_runs_in_its_environment_and_answers(running: Instance) -> None:
    """Its worker's interpreter is the environment's; the others' is ours."""
    until(lambda: running.version("pinned")["state"] == "READY", "the isolated version")
    (environment,) = Environments(running.home).listed()

    assert worker_of(running, "pinned").cmdline()[0] == str(environment.python)
    assert worker_of(running, "plain").cmdline()[0] != str(environment.python)
    assert running.predict("pinned")["outputs"] == running.predict("plain")["outputs"]
    notes = str(running.version("pinned")["served"])
    assert f"runs in environment {environment.key}: triton 99.1" in notes


def test_what_its_worker_has_is_compared_with_packing(running: Instance) -> None:
    """The worker's facts come to the controller through its replica."""
    until(
        lambda: (
            (running.home / "placed.json").is_file()
            and "99.1" in (running.home / "placed.json").read_text()
        ),
        "where it was placed",
    )


def test_it_comes_back_with_its_environment(running: Instance) -> None:
    """Environment gone and worker killed: it is built again, and the version answers."""
    before = worker_of(running, "pinned")
    (environment,) = Environments(running.home).listed()
    (Path(environment.folder) / "environment.json").write_bytes(b"")  # a loss of power, say
    before.kill()

    until(lambda: worker_of(running, "pinned").pid != before.pid, "another worker")
    until(lambda: running.predict("pinned")["model_version"] == "1", "its answer")
    assert worker_of(running, "pinned").cmdline()[0] == str(environment.python)
