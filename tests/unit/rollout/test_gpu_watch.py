"""A GPU that fails is known to those who compute on it, by whatever name they have it."""

from dataclasses import replace

import pytest

from runtimes.gpu_reading import read_gpus
from serving.clock import SystemClock
from serving.monitor.exposition import render
from serving.monitor.gpu_samples import gpu_samples, xid_samples
from serving.rollout.gpu_watch import GpuWatch, marked_with
from serving.rollout.host_watch import HostWatch, Senses, WorkerView
from tests.fakes.nvml import MIB, OWN_PID, FakeGpu, FakeNvml, Process, fake_gpu

A, B = fake_gpu(DeviceGetUUID="GPU-a000"), fake_gpu(DeviceGetUUID="GPU-b000")
PART = fake_gpu(DeviceGetUUID="MIG-1")
CUT = fake_gpu(DeviceGetUUID="GPU-c000", DeviceGetMigMode=(1, 1), instances=(PART,))


def nobodys(pid: int) -> bool | None:
    """Process 1 is ours, 2 is not, others cannot be told."""
    return {1: True, 2: False}.get(pid)


def watched(nvml: FakeNvml) -> GpuWatch:
    """A watch that has looked once."""
    watch = GpuWatch(nvml, nobodys)
    watch.look()
    return watch


@pytest.mark.parametrize(
    ("devices", "is_hit"),
    [
        pytest.param("1", True, id="by number"),
        pytest.param("GPU-b0", True, id="by the beginning of its UUID"),
        pytest.param("0,1", True, id="one of two"),
        pytest.param("0", False, id="its neighbour"),
        pytest.param("", False, id="none"),
    ],
)
def test_who_computes_on_a_gpu_that_fails_is_told(devices: str, *, is_hit: bool) -> None:
    """Why, in the driver's words."""
    nvml = FakeNvml([A, B], xids=[(B, 79)])
    watch = watched(nvml)

    assert watch.hear()

    trouble = watch.trouble(devices)
    assert bool(trouble) is is_hit
    assert trouble in {"", "GPU-b000 reported Xid 79 (GPU has fallen off the bus)"}


def test_a_part_of_a_gpu_fails_with_it() -> None:
    """The driver names the whole, the worker its instance."""
    watch = watched(FakeNvml([A, CUT], xids=[(CUT, 48)]))
    watch.hear()

    assert watch.trouble("MIG-1")
    assert not watch.trouble("0")


def test_a_gpu_that_is_lost_is_found_by_its_silence() -> None:
    """It cannot say its name any more; the others still say theirs."""
    nvml = FakeNvml([A, B])
    watch = watched(nvml)
    nvml.gpus = [A, FakeGpu(answers={})]
    nvml.xids.append((None, 0))

    assert watch.hear()

    assert watch.trouble("1").startswith("GPU-b000")
    assert not watch.trouble("0")


def test_a_programs_own_fault_is_counted_and_ends_no_worker() -> None:
    """It is in the metrics, with its number."""
    watch = watched(FakeNvml([A], xids=[(A, 13), (A, 13), (A, 48)]))
    watch.hear()
    text = render(xid_samples([*watch.errors, *watch.errors])).decode()

    assert 'bascule_gpu_xid_errors_total{gpu_uuid="GPU-a000",xid="13"} 2\n' in text
    assert 'bascule_gpu_xid_errors_total{gpu_uuid="GPU-a000",xid="48"} 1\n' in text
    assert watch.trouble("0", since_count=3) == ""
    assert "Xid 48" in watch.trouble("0", since_count=2)


def test_what_a_gpu_did_to_a_life_before_does_not_count() -> None:
    """Or a worker that starts again on it would be killed for ever."""
    nvml = FakeNvml([A], xids=[(A, 79)])
    watch = HostWatch(SystemClock(), senses=Senses(nvml=nvml, is_ours=nobodys))
    view = WorkerView(watch)
    watch.look()
    watch.look()
    assert watch.gpus is not None
    watch.gpus.hear()

    assert view.trouble("0")
    view.begin()
    assert not view.trouble("0")


@pytest.mark.parametrize(
    ("pids", "count"),
    [
        pytest.param([], 0, id="nobody"),
        pytest.param([1], 0, id="ours"),
        pytest.param([1, 2, 3], 2, id="others"),
        pytest.param([3, 4], None, id="nobody can be told"),
    ],
)
def test_other_processes_are_told_from_ours(pids: list[int], count: int | None) -> None:
    """Where no process can be told, ours may be among them: nothing is said."""
    processes = [Process(pid=pid, usedGpuMemory=None) for pid in pids]
    gpu = fake_gpu(DeviceGetComputeRunningProcesses=processes)

    figures = GpuWatch(FakeNvml([gpu]), nobodys).look()

    assert [value for (name, _), value in figures.items() if name == "gpu_other_processes"] == (
        [] if count is None else [float(count)]
    )


def test_a_hot_gpu_is_a_figure() -> None:
    """A GPU that does not tell its reasons has none."""
    hot = fake_gpu(DeviceGetUUID="GPU-h", DeviceGetCurrentClocksThrottleReasons=0x40)

    figures = GpuWatch(FakeNvml([A, hot]), nobodys).look()

    assert [key for key in figures if key[0] == "gpu_throttling"] == [("gpu_throttling", "GPU-h")]
    assert figures["gpu_throttling", "GPU-h"] == 1.0


def test_a_process_is_told_by_its_mark() -> None:
    """This one was not started by an instance; one that does not exist cannot be told."""
    assert marked_with("an instance")(OWN_PID) is False
    assert marked_with("an instance")(2**22 + 1) is None


def test_memory_is_told_by_worker() -> None:
    """Of processes that are none of ours together."""
    held = [
        Process(pid=1, usedGpuMemory=3 * MIB),
        Process(pid=2, usedGpuMemory=1 * MIB),
        Process(pid=3, usedGpuMemory=2 * MIB),
    ]
    nvml = FakeNvml([replace(A, answers={**A.answers, "DeviceGetComputeRunningProcesses": held})])

    text = render(gpu_samples(read_gpus(nvml), {1: "d1-0"})).decode()

    name = 'bascule_gpu_process_memory_bytes{gpu_uuid="GPU-a000",worker='
    assert f'{name}"d1-0"}} {3 * MIB}\n' in text
    assert f'{name}"other"}} {3 * MIB}\n' in text
    assert "nv_gpu_utilization" not in text
    assert f'nv_gpu_memory_total_bytes{{gpu_uuid="GPU-a000"}} {15360 * MIB}\n' in text
