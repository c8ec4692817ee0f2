"""Pushes and collections that are killed leave a registry in which everything agrees."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FEW, MANY = "12", "200"


def ill_treat(kills: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the program that kills and checks."""
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.registry_kills", "--kills", kills, *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=1800,
    )


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
def test_kills_leave_sqlite_consistent(kills: str) -> None:
    """After each kill rows, files and log agree, and the next collection leaves nothing over."""
    ended = ill_treat(kills)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"{kills} kills, 0 inconsistent")


@pytest.mark.parametrize("kills", [FEW, pytest.param(MANY, marks=pytest.mark.long)])
def test_kills_leave_postgres_consistent(postgres_url: str, kills: str) -> None:
    """On a server, too, where the killed process's transaction ends with its connection."""
    ended = ill_treat(kills, "--url", postgres_url)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"{kills} kills, 0 inconsistent")
