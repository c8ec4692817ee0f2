"""Preflight says nothing against models that work, and finds by running what only running shows."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from benchmarks.models.broken import broken_models
from benchmarks.models.layout import ModelFolder, write_model
from benchmarks.models.small import small_models
from benchmarks.preflight_models import check_model
from runtimes.contract import LoadRequest, TensorSpec
from runtimes.datatypes import Datatype
from runtimes.devices import CPU
from runtimes.findings import Severity
from runtimes.golden import Sample, run_samples
from runtimes.node_probe import probe
from runtimes.onnxrt import OnnxRuntime
from runtimes.preflight.check import check
from runtimes.preflight.subject import Subject
from runtimes.signature import Configured
from runtimes.tolerance import BITWISE
from runtimes.trial_run import TrialOrder, try_model
from serving.registry.preflight.preflight_target import read_target
from serving.registry.preflight.subject import Surroundings
from tests.fakes import models
from tests.fakes.models import torchscript
from tests.fakes.node_facts import CPU_NODE
from tests.fakes.torch_models import Identity

NOT_SERVED = frozenset({"accumulator"})
"""State kept by the server is refused by the configuration's parser (BP-C05)."""
AROUND = Surroundings(node=CPU_NODE)
HEALTHY = {one.name: one for one in small_models() if one.name not in NOT_SERVED}

BROKEN = {one.name: one for one in broken_models()}


@pytest.mark.parametrize("model", HEALTHY.values(), ids=HEALTHY.keys())
def test_healthy_small_models_have_no_error(model: ModelFolder, tmp_path: Path) -> None:
    """Neither before loading nor after running is there an error in a model that works."""
    write_model(tmp_path, model)

    checked = check_model(tmp_path / model.name, AROUND, is_dynamic=True)

    assert [one for one in checked.findings if one.severity is Severity.ERROR] == []
    assert checked.trial_s > 0


@pytest.mark.parametrize("model", BROKEN.values(), ids=BROKEN.keys())
def test_broken_small_models_have_one(model: ModelFolder, tmp_path: Path) -> None:
    """What is broken on purpose is found before it is loaded."""
    write_model(tmp_path, model)

    checked = check_model(tmp_path / model.name, AROUND, is_dynamic=False)

    assert len({o.code for o in checked.findings if o.severity is Severity.ERROR}) == 1


def tried(tmp_path: Path, content: bytes, rows: int, samples: tuple[Sample, ...] = ()) -> Subject:
    """Load and run a model on the CPU."""
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    order = TrialOrder(
        format="onnx",
        request=LoadRequest(file=file, device=CPU, threads=1),
        configured=Configured(max_batch_rows=rows),
        samples=samples,
        tolerances=(BITWISE,) if samples else (),
    )
    trial = try_model(order, now_s=time.perf_counter)
    return replace(read_target(file, AROUND).subject, trial=trial)


def error_codes(subject: Subject) -> set[str]:
    """The codes of errors."""
    return {one.code for one in check(subject) if one.severity is Severity.ERROR}


def golden(tmp_path: Path, content: bytes) -> Sample:
    """Run a model once and keep what it gives."""
    file = tmp_path / "golden.onnx"
    file.write_bytes(content)
    model = OnnxRuntime().load(LoadRequest(file=file, device=CPU, threads=1))
    inputs = (np.linspace(0, 1, 16, dtype=np.float32).reshape(1, 16),)
    empty = Sample(inputs=inputs, outputs=(), name="one")
    return replace(empty, outputs=tuple(run_samples(model, [empty])[0]))


def test_rows_that_interact_are_found_by_running(tmp_path: Path) -> None:
    """A model that subtracts the batch's mean claims batching in vain."""
    assert error_codes(tried(tmp_path, models.column_mean(), 8)) == {"BP-C03"}
    assert error_codes(tried(tmp_path, models.tiny(), 8)) == set()


def test_golden_values_are_replayed(tmp_path: Path) -> None:
    """One changed number in a golden output is an error; the unchanged one is none."""
    sample = golden(tmp_path, models.tiny())
    other = replace(sample, outputs=(sample.outputs[0] + 1,))

    assert error_codes(tried(tmp_path, models.tiny(), 8, (sample,))) == set()
    assert error_codes(tried(tmp_path, models.tiny(), 8, (other,))) == {"BP-R01"}


def test_nan_where_golden_inputs_are_given(tmp_path: Path) -> None:
    """An output that is NaN for a golden input is an error, even where NaN was recorded."""
    inputs = (np.full((1, 4), -1, dtype=np.float32),)
    sample = Sample(inputs=inputs, outputs=(np.full((1, 4), np.nan, np.float32),), name="one")

    assert error_codes(tried(tmp_path, models.nan_on_demand(), 8, (sample,))) == {"BP-R02"}


def test_what_only_the_engine_refuses(tmp_path: Path) -> None:
    """A model that static checks let pass and the engine does not load has a code of its own."""
    subject = tried(tmp_path, models.text_and_bf16(), 0)

    assert error_codes(subject) == {"BP-R07"}


@pytest.mark.parametrize(
    ("operator", "datatype", "lacking"),
    [
        pytest.param("Add", onnx.TensorProto.BFLOAT16, True, id="BF16"),
        pytest.param("Add", onnx.TensorProto.FLOAT, False, id="FP32"),
        pytest.param("Identity", onnx.TensorProto.BFLOAT16, False, id="BF16 that is copied"),
    ],
)
def test_a_datatype_without_kernels_is_found_before_it_is_loaded(
    tmp_path: Path,
    operator: str,
    datatype: int,
    lacking: bool,  # noqa: FBT001  a case
) -> None:
    """What this node's engine says of itself, and what it then refuses, are the same."""
    file = tmp_path / "model.onnx"
    file.write_bytes(one_operator(operator, datatype))
    here = Surroundings(node=probe(("onnx",)))
    order = TrialOrder(format="onnx", request=LoadRequest(file=file, device=CPU, threads=1))

    found = {one.code for one in check(read_target(file, here).subject)}
    trial = try_model(order, now_s=time.perf_counter)

    assert ("BP-O05" in found) is lacking
    assert (trial.load_problem != "") is lacking
    assert trial.load_code == ("BP-O05" if lacking else "BP-R07")


def one_operator(operator: str, datatype: int) -> bytes:
    """A model whose operator gets its datatype by a cast and a transposition."""
    names = ["b", "b"][: 2 if operator == "Add" else 1]
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Cast", ["x"], ["a"], to=datatype),
            onnx.helper.make_node("Transpose", ["a"], ["b"]),
            onnx.helper.make_node(operator, names, ["c"]),
            onnx.helper.make_node("Cast", ["c"], ["y"], to=onnx.TensorProto.FLOAT),
        ],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 2])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 2])],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    raw: bytes = onnx.helper.make_model(
        graph, opset_imports=opset, ir_version=8
    ).SerializeToString()
    return raw


class Hoarder(nn.Module):
    """Keeps four megabytes of each call."""

    kept: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.kept = [torch.zeros(1)]

    def forward(self, x: Tensor) -> Tensor:
        """Return the input, and keep much more."""
        self.kept.append(torch.ones(1 << 20) + x.sum())
        return x


@pytest.mark.parametrize(
    ("module", "grows"),
    [pytest.param(Hoarder(), True, id="hoards"), pytest.param(Identity(), False, id="settles")],
)
def test_memory_that_a_model_keeps_is_found(
    tmp_path: Path,
    module: nn.Module,
    grows: bool,  # noqa: FBT001  a case
) -> None:
    """A module that keeps something of every call is warned of, and one that does not is not."""
    file = tmp_path / "model.pt"
    file.write_bytes(torchscript(module))
    spec = (TensorSpec(name="x", datatype=Datatype.FP32, shape=(4,)),)
    configured = Configured(max_batch_rows=0, inputs=spec, outputs=(replace(spec[0], name="y"),))
    order = TrialOrder(
        format="torchscript",
        request=LoadRequest(file=file, device=CPU, threads=1),
        configured=configured,
    )

    trial = try_model(order, now_s=time.perf_counter)
    subject = replace(read_target(file, AROUND).subject, trial=trial)

    assert ("BP-R06" in {one.code for one in check(subject)}) is grows
