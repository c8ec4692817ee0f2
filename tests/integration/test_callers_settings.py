"""Tests do the same whatever the settings of the person are who runs them."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.instance import callers_environment
from serving.settings import inherited_environment

ROOT: Final = Path(__file__).parents[2]
TEST: Final = "tests/unit/cli/test_command_line.py"
NAME: Final = "test_config_says_where_a_value_is_from"


def test_settings_of_the_caller_reach_no_test(tmp_path: Path) -> None:
    """One that is wrong fails no test, and none writes where one leads."""
    database = tmp_path / "registry.db"
    settings = {
        "BASCULE_HTTP": "10.1.2.3:80",
        "BASCULE_GRPC": "10.1.2.3:81",
        "BASCULE_TYPO": "1",
        "BASCULE_REGISTRY_URL": f"sqlite:///{database}",
    }

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{TEST}::{NAME}"],
        cwd=ROOT,
        env=inherited_environment() | settings,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, database.exists()) == (0, False), done.stdout


def test_a_benchmarks_instance_keeps_to_its_own_places() -> None:
    """No registry, log or receiver of the caller sees its models; what tunes it counts."""
    told = {
        "PATH": "/bin",
        "BASCULE_HAPROXY_THREADS": "2",
        "BASCULE_REGISTRY_URL": "postgresql://production/models",
        "BASCULE_BLOBS": "s3://production",
        "BASCULE_EVENTS_FILE": "/etc/bascule/events.yaml",
        "BASCULE_PREDICTION_LOG": "s3://production/log",
        "BASCULE_OTLP_ENDPOINT": "http://collector:4318",
        "BASCULE_TRACE_FILE": "/var/log/traces",
        "BASCULE_LOAD_MODEL": "m",
        "BASCULE_MODEL_CONTROL_MODE": "explicit",
    }

    assert callers_environment(told) == {"PATH": "/bin", "BASCULE_HAPROXY_THREADS": "2"}
