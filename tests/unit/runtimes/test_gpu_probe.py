"""What NVML tells of a node becomes its facts."""

import pytest

from runtimes.devices import Device
from runtimes.gpu_memory import GpuMeter
from runtimes.gpu_probe import SystemNvml, cuda_text, probe_gpus
from runtimes.gpu_reading import read_gpus
from runtimes.node_probe import probe
from tests.fakes.node_facts import A100_MIG_NODE, T4
from tests.fakes.nvml import MIB, NO_LIBRARY, OWN_PID, FakeNvml, Memory, Process, fake_gpu


def test_a_gpu_is_measured() -> None:
    """Driver, CUDA, name, memory, capability and mode are as NVML says, and NVML is left."""
    nvml = FakeNvml([fake_gpu()])

    found = probe_gpus(nvml)

    assert (found.driver, found.driver_cuda, found.problem) == ("580.159.03", "13.0", "")
    assert found.gpus == (T4,)
    assert nvml.open_count == 0


def test_what_was_told_counts_although_nvml_cannot_be_left() -> None:
    """A driver that fails at the end has answered: the facts, a reading and a figure stay."""
    nvml = FakeNvml([fake_gpu()], last_problem=(999, "Unknown Error"))

    assert probe_gpus(nvml).gpus == (T4,)
    assert [gpu.uuid for gpu in read_gpus(nvml)] == [T4.uuid]
    assert "not measured" not in GpuMeter(nvml, Device("cuda", 0)).taken().note


def test_without_nvml_its_words_are_the_reason() -> None:
    """A node without NVML's library has no GPUs and no driver, and says why."""
    found = probe_gpus(FakeNvml(problem=NO_LIBRARY))

    assert (found.gpus, found.driver) == ((), "")
    assert found.problem == "NVML Shared Library Not Found"


def test_a_driver_without_gpus_has_a_reason() -> None:
    """A container that was given no GPU sees the driver and none of its GPUs."""
    found = probe_gpus(FakeNvml([]))

    assert found.driver == "580.159.03"
    assert found.problem == "the driver shows no GPU to this process"


def test_mig_instances_stand_after_their_gpu() -> None:
    """A GPU that is cut up is marked; each instance is a GPU of its own name, uuid and size."""
    whole, part = A100_MIG_NODE.gpus
    cut = fake_gpu(
        DeviceGetUUID=whole.uuid,
        DeviceGetName=whole.name,
        DeviceGetMemoryInfo=Memory(total=whole.memory_bytes, free=whole.free_memory_bytes),
        DeviceGetCudaComputeCapability=(8, 0),
        DeviceGetMigMode=(1, 1),
        instances=(
            fake_gpu(
                DeviceGetUUID=part.uuid,
                DeviceGetName=part.name,
                DeviceGetMemoryInfo=Memory(total=part.memory_bytes, free=part.free_memory_bytes),
            ),
        ),
    )

    assert probe_gpus(FakeNvml([cut])).gpus == (whole, part)


def test_mig_that_is_only_planned_does_not_count() -> None:
    """MIG mode that starts with the next reset leaves the GPU whole until then."""
    (gpu,) = probe_gpus(FakeNvml([fake_gpu(DeviceGetMigMode=(0, 1))])).gpus

    assert not gpu.is_mig


def test_memory_of_other_processes_is_summed() -> None:
    """What others hold counts; what this process holds, or nobody may know, does not."""
    processes = [
        Process(pid=OWN_PID, usedGpuMemory=500 * MIB),
        Process(pid=1, usedGpuMemory=300 * MIB),
        Process(pid=2, usedGpuMemory=None),
        Process(pid=3, usedGpuMemory=200 * MIB),
    ]

    (gpu,) = probe_gpus(FakeNvml([fake_gpu(DeviceGetComputeRunningProcesses=processes)])).gpus

    assert gpu.other_process_bytes == 500 * MIB


def test_modes_have_names() -> None:
    """A GPU that lets no process in says so."""
    (gpu,) = probe_gpus(FakeNvml([fake_gpu(DeviceGetComputeMode=2)])).gpus

    assert gpu.compute_mode == "prohibited"


def test_a_version_of_cuda_reads_as_people_write_it() -> None:
    """NVML's number for a CUDA version has thousands for the major and tens for the minor."""
    assert [cuda_text(number) for number in (11040, 12080, 13000)] == ["11.4", "12.8", "13.0"]


A, B, C = (f"GPU-{letter}0000000-1111" for letter in "abc")
NODE = FakeNvml([fake_gpu(DeviceGetUUID=uuid) for uuid in (A, B, C)])


@pytest.mark.parametrize(
    ("listed", "uuids"),
    [
        pytest.param(None, [A, B, C], id="not set"),
        pytest.param("1", [B], id="a number"),
        pytest.param("2, 0", [C, A], id="in its own order"),
        pytest.param("GPU-b0", [B], id="the beginning of a UUID"),
        pytest.param(f"{C},0", [C, A], id="both"),
        pytest.param("", [], id="nothing"),
        pytest.param("-1", [], id="none"),
        pytest.param("NoDevFiles", [], id="none of a container"),
        pytest.param("0,7,1", [A], id="it ends at what is no GPU"),
        pytest.param("0,0", [A], id="once only"),
        pytest.param("GPU-", [], id="a beginning that means several"),
    ],
)
def test_only_gpus_that_this_process_may_use_are_listed(
    listed: str | None, uuids: list[str]
) -> None:
    """NVML shows all of a node; a process uses those that CUDA_VISIBLE_DEVICES names."""
    found = probe_gpus(NODE, listed)

    assert [gpu.uuid for gpu in found.gpus] == uuids
    assert ("CUDA_VISIBLE_DEVICES" in found.problem) is not bool(uuids)


def test_an_instance_is_chosen_by_its_uuid() -> None:
    """Of a GPU that is cut up, `MIG-…` leaves that instance alone."""
    part = fake_gpu(DeviceGetUUID="MIG-1234")
    cut = fake_gpu(DeviceGetUUID=A, DeviceGetMigMode=(1, 1), instances=(part,))

    (gpu,) = probe_gpus(FakeNvml([cut]), "MIG-1234").gpus
    both = probe_gpus(FakeNvml([cut]), "0").gpus

    assert (gpu.uuid, gpu.is_mig) == ("MIG-1234", False)
    assert [one.is_mig for one in both] == [True, False]


def test_facts_of_a_node_obey_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process's facts list what it may use, and nothing else."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")

    assert [gpu.uuid for gpu in probe(nvml=NODE).gpus] == [B]


def test_the_real_nvml_answers_or_says_why() -> None:
    """With the installed driver, or none, there are GPUs or there is a reason."""
    found = probe_gpus(SystemNvml())

    assert bool(found.gpus) != bool(found.problem)
