"""The end of an instance on Ray that did not start, or has lost its head.

Others end as the last test of their file: `down` after a kill of the raylet, of Serve's controller,
and of nobody.
"""

from pathlib import Path

import psutil
import pytest

from serving.cluster.instance_processes import is_alive
from tests.e2e.ray_instance import instance

pytestmark = pytest.mark.e2e


def test_a_start_that_fails_leaves_nothing_and_the_next_one_can_be_ended() -> None:
    """An edge that cannot start makes `up` fail with the reason, and all is ended again.

    In the same home another one starts; that its head (GCS) died hard keeps nobody from ending.
    """
    with instance() as made:
        up = made.up("--no-dashboard", BASCULE_HAPROXY="/bin/false")
        assert up.returncode == 1
        assert "HAProxy" in up.stderr
        assert not (made.home / "run" / "ray.json").exists()
        assert processes_below(made.home) == []

        up = made.up("--no-dashboard")
        assert up.returncode == 0, up.stderr
        made.kill("gcs/gcs_server")
        made.assert_ended()


def processes_below(home: Path) -> list[int]:
    """Every living process that was started for a home."""
    return [
        process.pid
        for process in psutil.process_iter(["environ"])
        if (process.info["environ"] or {}).get("BASCULE_HOME") == str(home) and is_alive(process)
    ]
