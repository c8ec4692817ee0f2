"""A push that is killed leaves a whole version or none."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serving.registry.bundles.archive import write_archive
from serving.registry.store import Registry
from tests.fakes.bundles import make_bundle

PUSH_ARCHIVE = """
import os, signal, sys
from serving.cli.main import main
from serving.registry.store import Registry
Registry.push = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
main(["push", sys.argv[1]])
"""
PROGRAM = Path(__file__).with_name("push_until_killed.py")
STEP = 397  # calls between two kills, from before the first file to after all of it
ROOT = Path(__file__).parents[3]


def test_a_killed_push_leaves_the_version_or_nothing(tmp_path: Path) -> None:
    """Killed at any moment, a push has happened or has not, and the next one clears up."""
    bundle = make_bundle(tmp_path / "b")

    ended = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path / "homes"), str(bundle.folder), str(STEP)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=200,
    )

    found = set(ended.stdout.splitlines())
    assert found == {
        "0 version, then 1, 1 event, 0 left",
        "1 version, then 1, 1 event, 0 left",
    }


def test_what_a_killed_push_unpacked_is_cleared_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive is unpacked where leftovers are looked for: a home does not fill up with them."""
    bundle, home = make_bundle(tmp_path / "b"), tmp_path / "home"
    write_archive(bundle.folder, tmp_path / "m.tar")
    monkeypatch.setenv("BASCULE_HOME", str(home))

    ended = subprocess.run(
        [sys.executable, "-c", PUSH_ARCHIVE, str(tmp_path / "m.tar")],
        check=False,
        cwd=ROOT,
        timeout=200,
    )

    assert ended.returncode == -signal.SIGKILL
    assert len(list(home.rglob("model.echo"))) == 1
    with Registry(home) as registry:
        registry.push(make_bundle(tmp_path / "other", name="n", content=b"n").folder, "ann")
        assert registry.blobs.count_abandoned() == 0
    assert [path.read_bytes() for path in home.rglob("model.echo")] == [b"n"]
