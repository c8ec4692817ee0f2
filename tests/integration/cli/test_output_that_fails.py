"""What a command does where nothing can be printed: a full disk, a pipe nobody reads, no stdout."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.settings import inherited_environment

COMMANDS = (["config", "--json"], ["metrics", "list"])
"""What is still held when the command ends, and what rich has written before."""


def command(
    tmp_path: Path, arguments: list[str], redirected: str
) -> subprocess.CompletedProcess[str]:
    """Run a command line in a shell, with its stdout redirected."""
    program = "from serving.cli.main import main; main()"
    return subprocess.run(
        ["bash", "-c", f'"$@" {redirected}', "bash", sys.executable, "-c", program, *arguments],
        env={**inherited_environment(), "BASCULE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_full_disk_is_one_sentence(tmp_path: Path, arguments: list[str]) -> None:
    """Whoever keeps the output learns that it is not whole, without a traceback."""
    done = command(tmp_path, arguments, ">/dev/full")

    assert done.returncode == 1
    assert done.stderr == (
        "bascule: what this prints cannot be written: No space left on device: free space, "
        "or raise the limit, and try again\n"
    )


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_reader_that_has_left_is_no_news(tmp_path: Path, arguments: list[str]) -> None:
    """As of `bascule … | head -1`: nothing on stderr, and the status says that it was cut."""
    done = command(tmp_path, arguments, "> >(exec true)")

    assert done.stderr == ""
    assert done.returncode in {0, 1}  # 0 where all fitted the pipe before its reader had left


def test_nobody_need_listen(tmp_path: Path) -> None:
    """A supervisor may start it without stdin, stdout and stderr."""
    assert command(tmp_path, ["config"], "<&- >&- 2>&-").returncode == 0

    done = command(tmp_path, ["labels", "post", "m", "-"], "<&-")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "a JSON list of labels is expected" in done.stderr
