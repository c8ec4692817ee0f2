"""A version that pins a package gets, on Ray, a worker in an environment that is built for it."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from serving.environments.store import Environments
from tests.e2e.ray_instance import Instance, instance, until
from tests.fakes import models
from tests.fakes.wheels import write_wheel

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def running() -> Iterator[Instance]:
    """An instance with `pinned`, which pins a package and is to be isolated, beside the others."""
    with instance() as made:
        folder = made.home / "pack"
        wheels = made.home / "wheels"
        write_wheel(wheels, "triton", "99.1")
        pip = {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
        made.environment |= pip
        pack(made, folder)
        started = made.up("--no-dashboard")
        assert started.returncode == 0, started.stderr
        yield made


def pack(made: Instance, folder: Path) -> None:
    """Pack and push the version."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(models.tiny())
    (folder / "lock.txt").write_text("triton==99.1\n")
    lock = ("--lock", str(folder / "lock.txt"), "--dependencies", "isolate")
    words = ("--name", "pinned", "--version", "1", *lock)
    bundle = str(folder / "bundle")
    packed = made.run("pack", str(folder / "model.onnx"), *words, "--output", bundle)
    assert packed.returncode == 0, packed.stderr
    pushed = made.run("push", bundle)
    assert pushed.returncode == 0, pushed.stderr


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
