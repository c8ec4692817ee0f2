"""What each GPU does at this moment, as NVML says it: use, memory, power, clocks, errors.

What a GPU does not tell (MIG, virtual and consumer GPUs) is None or left out. A reading takes some
milliseconds, takes no memory on a GPU and starts nothing there.
"""

from dataclasses import dataclass
from typing import Final

from runtimes.gpu_probe import Nvml, NvmlRefusalError, if_told

PERCENT: Final = 100
MILLI: Final = 1_000
MEGA: Final = 1_000_000
CLOCKS: Final = (("graphics", 0), ("sm", 1), ("memory", 2))
"""By NVML's numbers."""
CORE_SENSOR: Final = 0
CORRECTED, UNCORRECTED = 0, 1
SINCE_RESET: Final = 0
REASONS: Final = (
    ("idle", 0x1),
    ("application_clocks", 0x2),
    ("power_cap", 0x4),
    ("hardware_slowdown", 0x8),
    ("sync_boost", 0x10),
    ("software_thermal", 0x20),
    ("hardware_thermal", 0x40),
    ("power_brake", 0x80),
    ("display_clocks", 0x100),
)
"""Why clocks are lower than they could be, by NVML's bits."""
HARMFUL: Final = frozenset(
    {"hardware_slowdown", "software_thermal", "hardware_thermal", "power_brake"}
)
"""Those that tell of a fault; a busy GPU reaches its power cap, and idle ones rest."""


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that computes on a GPU."""

    pid: int
    memory_bytes: int
    """0: not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReading:
    """One GPU at one moment; None: it does not tell."""

    uuid: str
    utilization_ratio: float | None = None
    memory_busy_ratio: float | None = None
    """Share of the time in which its memory was read or written."""
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    energy_j: float | None = None
    temperature_c: float | None = None
    clocks_hz: tuple[tuple[str, float], ...] = ()
    max_clocks_hz: tuple[tuple[str, float], ...] = ()
    throttle_reasons: frozenset[str] | None = None
    corrected_errors: int | None = None
    """Of its memory, by ECC, since the driver started."""
    uncorrected_errors: int | None = None
    processes: tuple[GpuProcess, ...] = ()

    @property
    def is_slowed(self) -> bool:
        """Whether something is wrong with its clocks."""
        return bool(self.throttle_reasons and self.throttle_reasons & HARMFUL)


def read_gpus(nvml: Nvml) -> tuple[GpuReading, ...]:
    """Read every GPU of the node; none where there is no driver. Blocking."""
    try:
        nvml.ask("Init")
    except NvmlRefusalError:
        return ()
    try:
        count = int(if_told(nvml, "DeviceGetCount") or 0)
        found = (_reading(nvml, index) for index in range(count))
        return tuple(one for one in found if one is not None)
    finally:
        if_told(nvml, "Shutdown")


def reasons_of(bits: int) -> frozenset[str]:
    """Return the names of NVML's bits."""
    return frozenset(name for name, bit in REASONS if bits & bit)


def _reading(nvml: Nvml, index: int) -> GpuReading | None:
    """Read one GPU; None: it is lost."""
    handle = if_told(nvml, "DeviceGetHandleByIndex", index)
    uuid = None if handle is None else if_told(nvml, "DeviceGetUUID", handle)
    if uuid is None:
        return None
    use = if_told(nvml, "DeviceGetUtilizationRates", handle)
    memory = if_told(nvml, "DeviceGetMemoryInfo", handle)
    reasons = if_told(nvml, "DeviceGetCurrentClocksThrottleReasons", handle)
    return GpuReading(
        uuid=uuid.decode() if isinstance(uuid, bytes) else str(uuid),
        utilization_ratio=None if use is None else use.gpu / PERCENT,
        memory_busy_ratio=None if use is None else use.memory / PERCENT,
        memory_total_bytes=None if memory is None else int(memory.total),
        memory_used_bytes=None if memory is None else int(memory.total) - int(memory.free),
        power_w=_scaled(nvml, "DeviceGetPowerUsage", handle),
        power_limit_w=_scaled(nvml, "DeviceGetEnforcedPowerLimit", handle),
        energy_j=_scaled(nvml, "DeviceGetTotalEnergyConsumption", handle),
        temperature_c=if_told(nvml, "DeviceGetTemperature", handle, CORE_SENSOR),
        clocks_hz=_clocks(nvml, "DeviceGetClockInfo", handle),
        max_clocks_hz=_clocks(nvml, "DeviceGetMaxClockInfo", handle),
        throttle_reasons=None if reasons is None else reasons_of(int(reasons)),
        corrected_errors=_errors(nvml, handle, CORRECTED),
        uncorrected_errors=_errors(nvml, handle, UNCORRECTED),
        processes=tuple(
            GpuProcess(int(one.pid), int(one.usedGpuMemory or 0))
            for one in if_told(nvml, "DeviceGetComputeRunningProcesses", handle) or ()
        ),
    )


def _scaled(nvml: Nvml, function: str, handle: object) -> float | None:
    found = if_told(nvml, function, handle)
    return None if found is None else float(found) / MILLI


def _clocks(nvml: Nvml, function: str, handle: object) -> tuple[tuple[str, float], ...]:
    found = ((name, if_told(nvml, function, handle, number)) for name, number in CLOCKS)
    return tuple((name, float(value) * MEGA) for name, value in found if value is not None)


def _errors(nvml: Nvml, handle: object, kind: int) -> int | None:
    found = if_told(nvml, "DeviceGetTotalEccErrors", handle, kind, SINCE_RESET)
    return None if found is None else int(found)
