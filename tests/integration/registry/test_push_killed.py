"""A push that is killed leaves a whole version or none."""

import subprocess
import sys
from pathlib import Path

from tests.fakes.bundles import make_bundle

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
