"""Watches a node's GPUs for the supervisors of workers: errors, lowered clocks, other processes.

Where there is no driver it says nothing, and looks again: one may come. Blocking; one thread at a
time calls `hear` and `look`, the loop reads what they have found.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from runtimes.facts import GpuFacts
from runtimes.gpu_events import Xid, XidWatch
from runtimes.gpu_probe import Nvml, probe_gpus
from runtimes.gpu_reading import GpuReading, read_gpus
from runtimes.gpu_visible import visible
from serving.monitor.environment.records import GpuError

INSTANCE_MARK: Final = "BASCULE_INSTANCE"

log = structlog.get_logger(__name__)

IsOurs = Callable[[int], bool | None]
"""Whether a process is one of this instance; None: nobody can tell."""


def marked_with(instance: str) -> IsOurs:
    """Return what tells this instance's processes by the mark in their environment.

    A process of another pid namespace, or of another user, cannot be told.
    """
    mark = f"{INSTANCE_MARK}={instance}".encode()

    def is_ours(pid: int) -> bool | None:
        try:
            return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:
            return None

    return is_ours


class GpuWatch:
    """What is known of a node's GPUs."""

    def __init__(self, nvml: Nvml, is_ours: IsOurs) -> None:
        """Know nothing yet.

        Args:
            nvml: Where GPUs are asked for.
            is_ours: Tells the processes of this instance.
        """
        self._nvml = nvml
        self._is_ours = is_ours
        self._xids = XidWatch(nvml)
        self._counts = Counter[Xid]()
        self._fatal: dict[str, tuple[int, Xid]] = {}
        self._gpus: tuple[GpuFacts, ...] = ()
        self.heard_count = 0
        """How many errors were heard of."""

    @property
    def errors(self) -> tuple[GpuError, ...]:
        """All that were heard of since the start."""
        return tuple(
            GpuError(
                uuid=xid.uuid,
                xid=xid.number,
                text=str(xid),
                is_fatal=xid.is_fatal,
                count=count,
            )
            for xid, count in self._counts.copy().items()  # another thread hears
        )

    def hear(self) -> bool:
        """Hear what has failed since the last call; say whether anything has."""
        heard = [xid for one in self._xids.poll() for xid in self._placed(one)]
        for xid in heard:
            self.heard_count += 1
            self._counts[xid] += 1
            if xid.is_fatal:
                self._fatal[xid.uuid] = (self.heard_count, xid)
            log.error("gpu_failed", gpu=xid.uuid, xid=xid.number, error=str(xid))
        return bool(heard)

    def look(self) -> Mapping[tuple[str, str], float]:
        """Read all GPUs; return the figures of their conditions, by name and UUID."""
        self._gpus = probe_gpus(self._nvml).gpus or self._gpus
        figures: dict[tuple[str, str], float] = {}
        for one in read_gpus(self._nvml):
            if one.throttle_reasons is not None:
                figures["gpu_throttling", one.uuid] = float(one.is_slowed)
            others = self._other_count(one)
            if others is not None:
                figures["gpu_other_processes", one.uuid] = float(others)
        return figures

    def trouble(self, devices: str, since_count: int = 0) -> str:
        """Say why a worker cannot rely upon its GPUs; empty: it can.

        Args:
            devices: As CUDA_VISIBLE_DEVICES lists them.
            since_count: What was heard before does not count.
        """
        for uuid in self._uuids(devices):
            count, xid = self._fatal.get(uuid, (0, None))
            if xid is not None and count > since_count:
                return f"{uuid} reported {xid}"
        return ""

    def _uuids(self, devices: str) -> list[str]:
        """Return the GPUs that devices are, or are parts of."""
        if not devices:
            return []
        meant = {gpu.index for gpu in visible(self._gpus, devices)}
        return [gpu.uuid for gpu in self._gpus if gpu.index in meant]

    def _placed(self, xid: Xid) -> list[Xid]:
        """Find out whose error it is, of a GPU that could not say it: it shows itself no more."""
        if xid.uuid:
            return [xid]
        seen = {one.uuid for one in read_gpus(self._nvml)}
        wholes = {gpu.index: gpu.uuid for gpu in reversed(self._gpus)}
        return [Xid(uuid, xid.number) for uuid in wholes.values() if uuid not in seen]

    def _other_count(self, reading: GpuReading) -> int | None:
        told = [self._is_ours(one.pid) for one in reading.processes]
        if told and all(one is None for one in told):
            return None  # another pid namespace: ours may be among them
        return sum(one is not True for one in told)
