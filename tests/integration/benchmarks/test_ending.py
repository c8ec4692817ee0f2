"""What a benchmark leaves when it is ended early."""

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest

from benchmarks.models.layout import write_model
from benchmarks.models.small import tiny_graph
from serving.settings import inherited_environment
from tests.fakes.standalone_server import LIMIT_S

PROGRAM = """
import sys
from pathlib import Path
from benchmarks.command import run_main
from benchmarks.instance import running_instance

def main():
    with running_instance(Path(sys.argv[1])) as instance:
        print(instance.home, flush=True)
        sys.stdin.read()
    return 0

run_main(main)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_who_is_ended_early_leaves_nothing(
    number: signal.Signals, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The instance ends with its benchmark, and its home goes: by Ctrl-C, SIGTERM and a hangup."""
    scratch = tmp_path_factory.mktemp("t")
    write_model(tmp_path, tiny_graph().folder("tiny", 64))
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=inherited_environment() | {"TMPDIR": str(scratch)},
        # Who runs the tests in the background may ignore the signal, and children inherit that.
        preexec_fn=partial(signal.signal, number, signal.SIG_DFL),  # noqa: PLW1509  no threads
    ) as process:
        assert process.stdout is not None
        home = Path(process.stdout.readline().strip())
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        assert process.wait(LIMIT_S) == 128 + number
        assert process.stderr is not None
        assert process.stderr.read() == ""

    assert home.parent == scratch
    assert not home.exists()
    assert started
    assert [one for one in started if one.is_running()] == []


def test_a_terminal_without_all_characters_loses_no_report() -> None:
    """It gets substitutes, not a traceback in place of the figures."""
    program = "from benchmarks.command import run_main; run_main(lambda: print('≥ 1 µs') or 0)"

    done = subprocess.run(
        [sys.executable, "-c", program],
        env=inherited_environment() | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )

    assert done.stdout == b"\\u2265 1 \\xb5s\n"
