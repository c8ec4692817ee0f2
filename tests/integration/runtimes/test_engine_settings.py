"""What a profile and a policy set in the engines, as far as it shows on a CPU."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

from runtimes.contract import LoadRequest
from runtimes.devices import CPU, Device
from runtimes.onnxrt import (
    assigned_nodes,
    open_session,
    providers_for,
    refuses_cpu_nodes,
    session_options,
)
from runtimes.torch_settings import apply_settings, set_precision
from tests.fakes import models

CUDA = LoadRequest(file=Path("model.onnx"), device=Device("cuda", 0), threads=2)


@pytest.fixture
def torch_as_before() -> Iterator[None]:
    """Put everything in torch back that a test may change."""
    backends: Any = torch.backends
    places = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    precisions = [place.fp32_precision for place in places]
    threads, mode = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    for place in places:
        place.fp32_precision = "tf32"
    yield
    for place, precision in zip(places, precisions, strict=True):
        place.fp32_precision = precision
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode)


def options_of(request: LoadRequest) -> dict[str, str]:
    """The CUDA provider's options."""
    (_, options), _ = providers_for(request)
    found: dict[str, str] = options
    return found


def test_tf32_is_off_unless_allowed() -> None:
    """The engine's own default would round FP32 products; a profile has to allow that."""
    assert options_of(CUDA)["use_tf32"] == "0"
    assert options_of(replace(CUDA, precision="tf32"))["use_tf32"] == "1"


def test_an_arena_has_a_bound_only_where_one_was_set() -> None:
    """The bound is in bytes; without one the engine takes what it needs."""
    assert options_of(replace(CUDA, gpu_arena_bytes=1 << 30))["gpu_mem_limit"] == "1073741824"
    assert "gpu_mem_limit" not in options_of(CUDA)


def test_deterministic_onnx_searches_nothing() -> None:
    """Deterministic: the engine is told so, and convolutions are not chosen by a stopwatch."""
    assert options_of(replace(CUDA, deterministic=True))["cudnn_conv_algo_search"] == "DEFAULT"
    assert "cudnn_conv_algo_search" not in options_of(CUDA)
    assert session_options(1, is_deterministic=True).use_deterministic_compute
    assert not session_options(1).use_deterministic_compute


def test_deterministic_onnx_has_one_thread(tmp_path: Path) -> None:
    """A deterministic session runs with one thread, whatever the node has."""
    file = tmp_path / "model.onnx"
    file.write_bytes(models.tiny())
    request = LoadRequest(file=file, device=CPU, threads=2)

    for given, threads in [(request, 2), (replace(request, deterministic=True), 1)]:
        options: Any = open_session(given).get_session_options()
        assert options.intra_op_num_threads == threads


def test_a_session_tells_where_its_nodes_run(tmp_path: Path) -> None:
    """The engine names each node of the graph with its provider."""
    file = tmp_path / "model.onnx"
    file.write_bytes(models.fail_on_demand())

    nodes = assigned_nodes(open_session(LoadRequest(file=file, device=CPU, threads=1)))

    assert nodes is not None
    assert {node.operator for node in nodes} == {"GatherElements"}
    assert {node.provider for node in nodes} == {"CPUExecutionProvider"}


class OldSession:
    """A session of an engine that does not tell where its nodes run."""


def test_an_older_engine_says_nothing_of_its_nodes() -> None:
    """Then nobody knows, which is not the same as: there are none."""
    assert assigned_nodes(OldSession()) is None


@pytest.mark.parametrize(
    ("session", "may", "is_strict"),
    [
        pytest.param(OldSession, False, True, id="old, none allowed"),
        pytest.param(OldSession, True, False, id="old, allowed"),
        pytest.param(onnxruntime.InferenceSession, False, False, id="it can tell"),
    ],
)
def test_an_older_engine_refuses_nodes_on_the_cpu_itself(
    session: type,
    may: bool,  # noqa: FBT001  a case
    is_strict: bool,  # noqa: FBT001  a case
) -> None:
    """What it cannot tell afterwards it must not do, where it is not allowed."""
    device = Device("cuda", 0)
    request = LoadRequest(file=Path("m"), device=device, threads=1, allow_cpu_nodes=may)

    assert refuses_cpu_nodes(request, session) is is_strict
    assert not refuses_cpu_nodes(replace(request, device=CPU), session)


def test_deterministic_torch_holds_for_the_process(torch_as_before: object) -> None:
    """Deterministic algorithms and one thread are on, and a later version leaves the former on."""
    del torch_as_before
    request = LoadRequest(file=Path("m.pt"), device=CPU, threads=2)

    apply_settings(replace(request, deterministic=True))
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == 1
    apply_settings(request)

    assert torch.are_deterministic_algorithms_enabled()


def test_the_strictest_precision_counts(torch_as_before: object) -> None:
    """A version with TF32 gets it, until one asks for FP32: from then on nobody does."""
    del torch_as_before
    backends: Any = torch.backends  # has no types here

    assert list(set_precision("tf32")) == []
    assert backends.cuda.matmul.fp32_precision == "tf32"
    assert list(set_precision("fp32")) == []
    assert backends.cudnn.conv.fp32_precision == "ieee"
    (note,) = set_precision("tf32")

    assert "TF32 stays forbidden" in note
    assert backends.cuda.matmul.fp32_precision == "ieee"
