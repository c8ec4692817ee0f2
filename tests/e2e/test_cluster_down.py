"""The end of an instance on Ray, whatever has died before."""

from pathlib import Path

import psutil
import pytest

from serving.cluster.instance_processes import is_alive, processes_of
from tests.e2e.ray_instance import Instance, instance, until

pytestmark = pytest.mark.e2e


def started(made: Instance) -> str:
    """Start an instance and return its mark."""
    up = made.up("--no-dashboard")
    assert up.returncode == 0, up.stderr
    return made.record().instance


def assert_ended(made: Instance, mark: str) -> None:
    """Run `down`; nothing is left of the instance, neither processes nor run files."""
    down = made.run("down")
    assert down.returncode == 0, down.stderr
    assert processes_of(mark) == []
    left = [entry.name for entry in (made.home / "run").iterdir()]
    assert [name for name in left if name != "instance.lock"] == []


def test_down_leaves_nothing_and_can_be_repeated() -> None:
    """`down` ends every process; a second one says that there is nothing to end."""
    with instance() as made:
        assert_ended(made, started(made))
        again = made.run("down")
        assert again.returncode == 0
        assert "no instance" in again.stdout


@pytest.mark.parametrize("victim", ["raylet/raylet", "gcs/gcs_server", "ServeController"])
def test_down_leaves_nothing_after_a_kill(victim: str) -> None:
    """A part of Ray that died hard does not keep the rest from ending."""
    with instance() as made:
        mark = started(made)
        victims = made.processes(victim)
        assert victims
        victims[0].kill()
        until(lambda: not victims[0].is_running() or victims[0].status() == "zombie", "its end")
        assert_ended(made, mark)


def test_a_failed_start_leaves_nothing() -> None:
    """An edge that cannot start makes `up` fail with the reason, and all is ended again."""
    with instance() as made:
        up = made.up("--no-dashboard", BASCULE_HAPROXY="/bin/false")
        assert up.returncode == 1
        assert "HAProxy" in up.stderr
        assert not (made.home / "run" / "ray.json").exists()
        assert processes_below(made.home) == []


def processes_below(home: Path) -> list[int]:
    """Every living process that was started for a home."""
    return [
        process.pid
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("BASCULE_HOME") == str(home) and is_alive(process)
    ]
