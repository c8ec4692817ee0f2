"""What GPUs say of their use and their errors is read; what one does not say is left out."""

from dataclasses import replace

import pytest

from runtimes.gpu_events import LOST_XID, Xid, XidWatch
from runtimes.gpu_reading import GpuProcess, GpuReading, read_gpus, reasons_of
from tests.fakes.nvml import MIB, NO_LIBRARY, FakeGpu, FakeNvml, Memory, Process, Rates, fake_gpu

T4 = fake_gpu()
UUID = str(T4.answers["DeviceGetUUID"])
TALKATIVE = fake_gpu(
    DeviceGetUtilizationRates=Rates(gpu=87, memory=12),
    DeviceGetMemoryInfo=Memory(total=100 * MIB, free=40 * MIB),
    DeviceGetPowerUsage=70_500,
    DeviceGetEnforcedPowerLimit=75_000,
    DeviceGetTotalEnergyConsumption=1_000,
    DeviceGetTemperature=81,
    DeviceGetClockInfo={(0,): 900, (1,): 901, (2,): 5000},
    DeviceGetMaxClockInfo={(0,): 1590, (1,): 1590, (2,): 5001},
    DeviceGetCurrentClocksThrottleReasons=0x44,
    DeviceGetTotalEccErrors={(0, 0): 3, (1, 0): 1},
    DeviceGetComputeRunningProcesses=[Process(pid=7, usedGpuMemory=5 * MIB)],
)


def test_a_gpu_that_tells_all_is_read_in_plain_units() -> None:
    """Watts, hertz, joules, bytes and ratios; and NVML is left."""
    nvml = FakeNvml([TALKATIVE])

    (found,) = read_gpus(nvml)

    assert found == GpuReading(
        uuid=UUID,
        utilization_ratio=0.87,
        memory_busy_ratio=0.12,
        memory_total_bytes=100 * MIB,
        memory_used_bytes=60 * MIB,
        power_w=70.5,
        power_limit_w=75.0,
        energy_j=1.0,
        temperature_c=81,
        clocks_hz=(("graphics", 9e8), ("sm", 9.01e8), ("memory", 5e9)),
        max_clocks_hz=(("graphics", 1.59e9), ("sm", 1.59e9), ("memory", 5.001e9)),
        throttle_reasons=frozenset({"power_cap", "hardware_thermal"}),
        corrected_errors=3,
        uncorrected_errors=1,
        processes=(GpuProcess(7, 5 * MIB),),
    )
    assert found.is_slowed
    assert nvml.open_count == 0


def test_a_gpu_that_tells_little_is_read_as_far_as_it_does() -> None:
    """A consumer's or virtual GPU has no ECC and perhaps no power meter."""
    (found,) = read_gpus(FakeNvml([T4]))

    assert (found.uuid, found.power_w, found.corrected_errors) == (UUID, None, None)
    assert (found.clocks_hz, found.throttle_reasons, found.is_slowed) == ((), None, False)


def test_without_a_driver_there_is_nothing_to_read() -> None:
    """Nor of a GPU that is lost, while its neighbours are read."""
    assert read_gpus(FakeNvml(problem=NO_LIBRARY)) == ()
    assert [one.uuid for one in read_gpus(FakeNvml([FakeGpu(answers={}), T4]))] == [UUID]


@pytest.mark.parametrize("harmless", [0x0, 0x1, 0x2, 0x4, 0x10, 0x100])
def test_a_busy_or_idle_gpu_is_not_slowed(harmless: int) -> None:
    """Its power cap and its rest are no fault; unknown bits have no name."""
    reading = GpuReading(uuid=UUID, throttle_reasons=reasons_of(harmless | 1 << 40))

    assert not reading.is_slowed
    assert replace(reading, throttle_reasons=reasons_of(harmless | 0x20)).is_slowed


def test_errors_are_heard_once_of_every_gpu() -> None:
    """Those that came since the last question; what a GPU's number means is told."""
    other = fake_gpu(DeviceGetUUID="GPU-2")
    nvml = FakeNvml([T4, other])
    watch = XidWatch(nvml)
    first = watch.poll()
    nvml.xids += [(T4, 79), (other, 13)]

    assert (first, watch.poll(), watch.poll()) == ((), (Xid(UUID, 79), Xid("GPU-2", 13)), ())
    assert nvml.heard == {UUID, "GPU-2"}
    assert str(Xid(UUID, 79)) == "Xid 79 (GPU has fallen off the bus)"
    assert str(Xid(UUID, 999)) == "Xid 999"


def test_a_programs_own_fault_is_not_fatal() -> None:
    """What is not known to be one, is."""
    assert [number for number in (13, 31, 43, 45, 48, 79, 95, 999) if Xid("", number).is_fatal] == [
        48,
        79,
        95,
        999,
    ]


def test_a_lost_gpu_ends_the_session_and_the_next_question_begins_another() -> None:
    """It cannot say which it is; nothing of NVML stays open."""
    nvml = FakeNvml([T4], xids=[(None, 0)])
    watch = XidWatch(nvml)

    assert watch.poll() == (Xid("", LOST_XID),)
    assert (nvml.open_count, nvml.set_count) == (0, 0)
    nvml.xids.append((T4, 48))
    assert watch.poll() == (Xid(UUID, 48),)
    watch.close()
    assert (nvml.open_count, nvml.set_count) == (0, 0)


def test_without_a_driver_nothing_is_heard() -> None:
    """It may come later: then errors are heard."""
    nvml = FakeNvml([T4], problem=NO_LIBRARY, xids=[(T4, 79)])
    watch = XidWatch(nvml)

    assert watch.poll() == ()
    nvml.problem = None
    assert watch.poll() == (Xid(UUID, 79),)
