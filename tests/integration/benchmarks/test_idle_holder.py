"""Who holds idle connections ends with a count: of what is refused, and where it died itself."""

import subprocess
import sys

from benchmarks.growth.idle import told
from tests.fakes.standalone_server import free_ports


def test_a_connection_that_is_refused_is_a_result() -> None:
    """Nobody listens: none is held, and none answered."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "benchmarks.growth.holder", "127.0.0.1", str(port), "3"]
    done = subprocess.run(command, input="", capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.split()) == (0, ["held", "0", "answered", "0"])
    assert "refused" in done.stderr


def test_a_holder_that_died_holds_nothing() -> None:
    """It is asked all the same."""
    with subprocess.Popen(
        [sys.executable, "-c", ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        holder.wait()
        assert told(holder, "answered", ask=True) == 0
