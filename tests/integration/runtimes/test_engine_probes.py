"""What the installed engines say of themselves."""

import subprocess
import sys
from pathlib import Path

import onnx
import onnxruntime
import torch

from runtimes import onnx_probe, torch_probe
from runtimes.engine_probe import read_onnxruntime, read_torch
from runtimes.node_probe import probe

QUIET = """
import os, runtimes.onnxrt
open_files = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")[:-1]}
print(len(os.listdir("/proc/self/task")), [name for name in open_files if "onnxruntime" in name])
"""


def test_the_engine_reports_to_nobody(tmp_path: Path) -> None:
    """Its import starts no thread and opens no database in the user's home."""
    env = {"HOME": str(tmp_path), "PYTHONPATH": str(Path.cwd()), "OPENBLAS_NUM_THREADS": "1"}
    words = (sys.executable, "-c", QUIET)
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == ["1", "[]\n"]
    assert list(tmp_path.iterdir()) == []


def test_onnxruntime_names_its_limits() -> None:
    """Newest opset and IR version are the engine's own, and never above the newest there are."""
    facts = onnx_probe.ask()

    assert facts.version == onnxruntime.__version__
    assert 21 <= facts.max_opset <= onnx.defs.onnx_opset_version()
    assert 10 <= facts.max_ir_version <= onnx.IR_VERSION
    assert "CPUExecutionProvider" in facts.providers
    limits = {limit.domain: limit.max_opset for limit in facts.domains}
    assert 4 <= limits["ai.onnx.ml"] <= onnx.defs.onnx_opset_version()
    assert bool(facts.cuda_problem) <= bool(facts.cuda_version)


def test_torch_names_its_limits() -> None:
    """Newest versions of files and archives are the engine's own."""
    facts = torch_probe.ask()

    assert facts.version == torch.__version__
    assert facts.max_file_version >= 10
    assert facts.max_pt2_schema[0] >= 8
    assert bool(facts.cuda_version) == bool(facts.cuda_architectures)


def test_files_and_engines_agree() -> None:
    """What is read off the files is what the engines say."""
    for read, asked in [
        (read_onnxruntime(), probe({"onnx"}).onnxruntime),
        (read_torch(), probe({"torch"}).torch),
    ]:
        assert read is not None
        assert asked is not None
        assert (read.version, read.cuda_version) == (asked.version, asked.cuda_version)


def test_the_smallest_model_is_a_model() -> None:
    """The bytes that limits are asked with are ONNX, with the versions that they should have."""
    model = onnx.ModelProto.FromString(onnx_probe.minimal_model(ir_version=9999, opset=300))

    assert (model.ir_version, model.opset_import[0].version, model.graph.name) == (9999, 300, "g")


def test_engines_are_known_without_their_import() -> None:
    """Versions of the engines are read off their files by a process that imports neither."""
    code = (
        "import sys; from runtimes.node_probe import probe; facts = probe();"
        "print('torch' in sys.modules, 'onnxruntime' in sys.modules,"
        " bool(facts.torch and facts.torch.version),"
        " bool(facts.onnxruntime and facts.onnxruntime.version))"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.split() == ["False", "False", "True", "True"]
