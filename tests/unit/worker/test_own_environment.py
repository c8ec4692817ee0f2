"""What a worker computes with: its own packages, and the GPUs that it was given."""

from dataclasses import replace

import pytest

from runtimes.devices import CPU
from runtimes.node_probe import probe
from serving.registry.environment import environment_of, fingerprint
from serving.worker.own_environment import NoNvml, OwnEnvironment, given_gpus, gpu_uuid
from tests.fakes.node_facts import A100, T4

GPUS = (replace(T4, index=0), replace(A100, index=1))


def test_it_is_measured_when_it_is_asked_for() -> None:
    """A worker that loads nothing measures nothing."""
    own = OwnEnvironment("")
    assert own.known is None

    own.fingerprint("onnx", 1, CPU)

    assert own.known is not None
    assert own.known.packages["numpy"]


def test_its_fingerprint_is_that_of_packing_here() -> None:
    """A bundle that was packed on this machine has the same one."""
    packed = environment_of(probe(nvml=NoNvml()), format_name="onnx", threads=2)

    assert OwnEnvironment("").fingerprint("onnx", 2, CPU) == fingerprint(packed, "onnx")


@pytest.mark.parametrize(
    ("given", "names"),
    [
        pytest.param("", [], id="none"),
        pytest.param("1", ["A100"], id="by number"),
        pytest.param("1,0", ["A100", "T4"], id="in its order"),
        pytest.param(T4.uuid, ["T4"], id="by UUID"),
        pytest.param(T4.uuid[:10], ["T4"], id="by the beginning of one"),
        pytest.param("7", [], id="one that is not there"),
    ],
)
def test_gpus_are_those_that_it_was_given(given: str, names: list[str]) -> None:
    """Numbered as the process counts them."""
    found = given_gpus(GPUS, given)

    assert [gpu.index for gpu in found] == list(range(len(names)))
    assert all(name in gpu.name for name, gpu in zip(names, found, strict=True))


@pytest.mark.parametrize(
    ("device", "uuid"),
    [("cpu", ""), ("cuda:0", T4.uuid), ("cuda", T4.uuid), ("cuda:1", A100.uuid), ("cuda:2", "")],
)
def test_a_device_is_known_by_its_gpu(device: str, uuid: str) -> None:
    """As the process counts its GPUs; the CPU, and one that nobody shows, have none."""
    facts = replace(probe(nvml=NoNvml()), gpus=GPUS)

    assert gpu_uuid(facts, device) == uuid
    assert gpu_uuid(None, device) == ""
