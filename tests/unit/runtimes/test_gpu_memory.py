"""How much of a GPU's memory something takes, by what NVML tells."""

import pytest

from runtimes.devices import Device
from runtimes.gpu_memory import GpuMeter, Taken
from tests.fakes.nvml import (
    MIB,
    NO_LIBRARY,
    OWN_PID,
    FakeGpu,
    FakeNvml,
    Memory,
    Process,
    fake_gpu,
)

CUDA = Device("cuda", 0)


class Card:
    """A GPU whose memory a test sets, behind an NVML."""

    def __init__(self, uuid: str = "GPU-a") -> None:
        """Hold nothing."""
        self.answers = dict(fake_gpu(DeviceGetUUID=uuid).answers)
        self.nvml = FakeNvml([FakeGpu(answers=self.answers)])
        self.hold(0)

    def hold(self, device_mib: int, own_mib: int = 0) -> None:
        """Let so much be held on the device, and by this process as far as NVML shows."""
        total = 16_000 * MIB
        own = [Process(pid=OWN_PID, usedGpuMemory=own_mib * MIB)] if own_mib else []
        self.answers["DeviceGetMemoryInfo"] = Memory(total=total, free=total - device_mib * MIB)
        self.answers["DeviceGetComputeRunningProcesses"] = [
            Process(pid=1, usedGpuMemory=77 * MIB),
            *own,
        ]


def test_the_highest_look_counts() -> None:
    """What was held at most between the first and the last look is what it took."""
    card = Card()
    meter = GpuMeter(card.nvml, CUDA)
    for own_mib in (400, 900, 700):
        card.hold(5000, own_mib)
        meter.look()

    assert meter.taken() == Taken(size_bytes=900 * MIB)
    assert card.nvml.open_count == 0


def test_what_was_held_before_does_not_count() -> None:
    """A context that was there before is nobody's new memory."""
    card = Card()
    card.hold(5000, 300)
    meter = GpuMeter(card.nvml, CUDA)
    card.hold(5600, 900)
    meter.look()

    assert meter.taken().size_bytes == 600 * MIB


def test_without_this_process_the_device_counts_and_that_is_said() -> None:
    """In a container NVML shows other pids: then the device's rise is what is known."""
    card = Card()
    card.hold(1000)
    meter = GpuMeter(card.nvml, CUDA)
    card.hold(1800)
    meter.look()

    taken = meter.taken()
    assert taken.size_bytes == 800 * MIB
    assert "the whole device's" in taken.note


@pytest.mark.parametrize(
    ("nvml", "device", "says"),
    [
        pytest.param(FakeNvml(problem=NO_LIBRARY), CUDA, "Library Not Found", id="no NVML"),
        pytest.param(FakeNvml([fake_gpu()]), Device("cuda", 1), "no cuda:1", id="no such GPU"),
    ],
)
def test_what_cannot_be_measured_is_said(nvml: FakeNvml, device: Device, says: str) -> None:
    """No figure is made up; the note has the reason."""
    meter = GpuMeter(nvml, device)
    meter.look()

    taken = meter.taken()
    assert taken.size_bytes == 0
    assert says in taken.note


def test_the_device_is_counted_as_this_process_counts() -> None:
    """With CUDA_VISIBLE_DEVICES=1, cuda:0 is the node's second GPU."""
    cards = Card("GPU-a"), Card("GPU-b")
    nvml = FakeNvml([FakeGpu(answers=card.answers) for card in cards])
    meter = GpuMeter(nvml, CUDA, "1")
    cards[0].hold(9000)
    cards[1].hold(250)
    meter.look()

    assert meter.taken().size_bytes == 250 * MIB
