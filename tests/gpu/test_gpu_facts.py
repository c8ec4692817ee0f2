"""A real GPU's facts are sane, and the engines can use it."""

import pytest

from runtimes.facts import GpuFacts
from runtimes.node_probe import probe
from runtimes.profile import SHIPPED
from runtimes.profile_fit import misfits, version_numbers

pytestmark = pytest.mark.gpu


def test_a_gpu_has_a_name_and_a_size(gpu: GpuFacts) -> None:
    """Name, identity, memory and capability are those of an NVIDIA GPU that CUDA still serves."""
    assert gpu.name
    assert gpu.uuid.startswith(("GPU-", "MIG-"))
    assert 1 << 30 < gpu.memory_bytes < 1 << 40
    assert 0 < gpu.free_memory_bytes <= gpu.memory_bytes
    assert (5, 0) <= gpu.compute_capability < (20, 0)
    assert gpu.other_process_bytes <= gpu.memory_bytes


def test_the_driver_has_versions() -> None:
    """Driver and CUDA read as numbers, and no problem is told."""
    facts = probe()

    assert version_numbers(facts.driver) >= (400,)
    assert version_numbers(facts.driver_cuda) >= (11, 0)
    assert facts.gpu_problem == ""


def test_some_profile_for_cuda_fits() -> None:
    """A node with a usable GPU fits the profile for any GPU."""
    assert misfits(SHIPPED["cuda"], probe()) == ()


def test_engines_find_nothing_missing() -> None:
    """Engines that were built for CUDA have here what they need for it, and say so."""
    facts = probe({"onnx", "torch"})

    for engine in (facts.onnxruntime, facts.torch):
        if engine is not None and engine.cuda_version:
            assert engine.cuda_problem == ""


def test_torch_has_code_for_the_gpu(gpu: GpuFacts) -> None:
    """A CUDA build of torch names its architectures, the GPU's own or one that it can run."""
    torch = probe({"torch"}).torch
    if torch is None or not torch.cuda_version:
        pytest.skip("needs a CUDA build of torch")
    major = gpu.compute_capability[0]

    assert any(name.split("_")[-1].startswith(str(major)) for name in torch.cuda_architectures)
