"""The promises of the protocol, all of them, behind the edge of an instance on Ray."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.settings import inherited_environment

pytestmark = [pytest.mark.e2e, pytest.mark.long]

ROOT = Path(__file__).parents[2]
SUITE = "tests/integration/protocol"


def test_every_promise_holds_on_ray() -> None:
    """The suite that asks `bascule serve` passes against `bascule up`."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", SUITE, "-m", "not long"],
        cwd=ROOT,
        env=inherited_environment() | {"PROTOCOL_SUITE_MODE": "ray"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout[-20_000:]
