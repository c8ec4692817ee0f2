"""The engine alone in a loop on a CUDA device: it loads, runs there and gives figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu.bare import READY
from benchmarks.gpu.cases import ENGINES, Case, Engine
from benchmarks.gpu.folders import file_in, write_case

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_engine_alone_gives_figures(tmp_path: Path, engine: Engine) -> None:
    """A line of rows and seconds is answered by a line of figures, for every batch size asked."""
    case = Case("mid", engine, "cuda")
    file = file_in(write_case(tmp_path, case), case)
    command = [sys.executable, "-m", "benchmarks.gpu.bare", str(file), f"--engine={engine}"]

    done = subprocess.run(
        [*command, "--device=cuda:0"],
        input="1 0.2\n64 0.2\n",
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )

    ready, *lines = done.stdout.splitlines() or [done.stderr]
    assert ready == READY, done.stderr
    assert [json.loads(line)["rows_per_s"] > 0 for line in lines] == [True, True]
