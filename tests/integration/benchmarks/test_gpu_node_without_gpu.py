"""The measurement of a node runs where there is no GPU: its CPU part, and reasons for the rest."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from benchmarks.gpu.cases import ENGINES, QUICK, Case, Engine
from benchmarks.gpu.folders import file_in, write_case
from benchmarks.gpu.measure import measure
from benchmarks.gpu.results import Failed
from runtimes.node_probe import probe

BATCH_ROWS: Final = 16
FIGURES: Final = {"bare_rows_per_s", "served_rows_per_s", "ratio", "p50_s", "p99_s"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a measurement of `mid` at one batch size wrote."""
    folder = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "benchmarks.gpu_node", "--quick", f"--results={folder}"]
    done = subprocess.run(
        [*command, f"--batches={BATCH_ROWS}"], capture_output=True, text=True, check=False
    )
    assert done.returncode in {0, 1}, done.stderr  # the verdict is the machine's
    assert done.returncode == told_in(folder)["exit_status"]
    return folder


def told_in(folder: Path) -> dict[str, Any]:
    """Read the JSON."""
    told: dict[str, Any] = json.loads((folder / "gpu_node.json").read_text())
    return told


def test_every_row_has_figures_or_a_reason(results: Path) -> None:
    """Each engine has its row on each device; on the CPU they were measured, and answered right."""
    rows = told_in(results)["rows"]

    assert [(row["device"], row["engine"]) for row in rows] == [
        (device, engine) for device in ("cpu", "cuda") for engine in ("onnx", "torchscript")
    ]
    for row in rows:
        assert (row["model"], row["batch_rows"]) == ("mid", BATCH_ROWS)
        is_measured = row["state"] == "measured"
        assert is_measured or (row["device"] == "cuda" and row["reason"]), row
        assert not is_measured or all(row[figure] > 0 for figure in FIGURES), row


def test_the_node_is_told_with_the_figures(results: Path) -> None:
    """Facts and versions are in the JSON; the page and a plot stand beside it."""
    node = told_in(results)["node"]

    assert node["packages"] == dict(probe().packages)
    assert node["torch"]["version"]
    assert "| mid | onnx | cpu |" in (results / "gpu_node.md").read_text()
    assert (results / "gpu_node-mid.svg").stat().st_size > 0


def test_what_breaks_is_told(tmp_path: Path) -> None:
    """A model that cannot be loaded is a failure with the server's words, at every batch size."""
    case = Case("mid", "onnx", "cpu")
    repository = write_case(tmp_path, case)
    file_in(repository, case).write_bytes(b"no model")

    rows = measure(case, repository, QUICK)

    assert [row.batch_rows for row in rows] == list(QUICK.batches)
    for row in rows:
        assert isinstance(row.found, Failed)
        assert "model.onnx" in row.found.reason


@pytest.mark.parametrize("engine", ENGINES)
def test_the_bare_loop_never_takes_the_cpu_for_a_gpu(tmp_path: Path, engine: Engine) -> None:
    """On a CUDA device that is not there it ends, and says what is missing."""
    case = Case("mid", engine, "cuda")
    file = file_in(write_case(tmp_path, case), case)
    command = [sys.executable, "-m", "benchmarks.gpu.bare", str(file), f"--engine={engine}"]

    done = subprocess.run(
        [*command, "--device=cuda:63"], input="", capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert "cuda" in done.stderr.lower()
