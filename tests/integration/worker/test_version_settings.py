"""A worker sets its engines up as the version's policy says."""

from dataclasses import replace
from pathlib import Path

from tests.fakes import models
from tests.fakes.worker_process import running_worker, version


def test_a_deterministic_version_has_one_thread(tmp_path: Path) -> None:
    """Whatever number of threads is configured, a deterministic version runs and reports one."""
    plain = version(tmp_path, "plain", models.tiny())
    plain = replace(plain, policy=replace(plain.policy, threads=2))
    exact = version(tmp_path, "exact", models.tiny())
    exact = replace(exact, policy=replace(exact.policy, threads=2, deterministic=True))

    with running_worker(tmp_path) as worker:
        last = {line["model"]: line for line in worker.apply(plain, exact)}

    assert last["plain"]["served"]["threads"] == 2
    assert last["exact"]["served"]["threads"] == 1
