"""What NVML tells of a node becomes its facts."""

from runtimes.gpu_probe import SystemNvml, cuda_text, probe_gpus
from tests.fakes.node_facts import A100_MIG_NODE, T4
from tests.fakes.nvml import MIB, NO_LIBRARY, OWN_PID, FakeNvml, Memory, Process, fake_gpu


def test_a_gpu_is_measured() -> None:
    """Driver, CUDA, name, memory, capability and mode are as NVML says, and NVML is left."""
    nvml = FakeNvml([fake_gpu()])

    found = probe_gpus(nvml)

    assert (found.driver, found.driver_cuda, found.problem) == ("580.159.03", "13.0", "")
    assert found.gpus == (T4,)
    assert nvml.open_count == 0


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


def test_the_real_nvml_answers_or_says_why() -> None:
    """With the installed driver, or none, there are GPUs or there is a reason."""
    found = probe_gpus(SystemNvml())

    assert bool(found.gpus) != bool(found.problem)
