"""Traces: where the time of single calls went, one JSON object a line, with Triton's names.

::

    {"id": 1, "model_name": "m", "model_version": 1, "request_id": "r",
     "timestamps": [{"name": "REQUEST_START", "ns": 1}, …, {"name": "REQUEST_END", "ns": 9}]}

Times are of the machine's monotonic clock. Off, a batch pays one attribute test; on, a call that is
sampled pays one write. Belongs to the worker's loop.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog

from serving.ids import VersionKey
from serving.monitor.diagnostics import Diagnostics, TracePlan
from serving.wire.call import InferCall

log = structlog.get_logger(__name__)

APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
ID_BITS: Final = 28
"""Ids are unique among a node's workers: a process id, and so many bits of its own count."""


class Traced(Protocol):
    """A call that was answered."""

    call: InferCall
    enqueued_ns: int


class Moments(msgspec.Struct, frozen=True):
    """When a batch began, ran, was split, and was answered; nanoseconds."""

    begin_ns: int
    infer_ns: int
    split_ns: int
    end_ns: int


class Tracer:
    """Samples and writes the calls of one model."""

    def __init__(self, plan: TracePlan, sink: "TraceFile", tally: "Tally | None") -> None:
        """Begin to count.

        Args:
            plan: Which calls.
            sink: Where traces go.
            tally: How many were taken; None for a plan without a number of them.
        """
        self._rate = plan.rate
        self._count = plan.count
        self._sink = sink
        self._tally = tally
        self._seen = 0

    def take(self, key: VersionKey, batch: Sequence[Traced], moments: Moments) -> None:
        """Write those of a batch whose turn it is."""
        for item in batch:
            self._seen += 1
            if self._seen % self._rate or not self._count:
                continue
            if self._tally is not None and not self._tally.take(self._count):
                self._count = 0
                continue
            self._sink.write(key, item, moments)


class Tally:
    """Counts the traces of all processes that open the same file: a byte each.

    An append leaves the writer's position behind its own byte, so each learns which one it wrote.
    """

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            OSError: It cannot be written.
        """
        self._descriptor = os.open(path, APPEND, 0o600)

    def take(self, count: int) -> bool:
        """Count one more; whether it is among the first `count`. None is, if it cannot be told."""
        try:
            os.write(self._descriptor, b".")
            return os.lseek(self._descriptor, 0, os.SEEK_CUR) <= count
        except OSError as error:
            log.warning("trace_not_counted", error=error.strerror)
            return False

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


class TraceSlot:
    """Where a version's batcher looks for its tracer."""

    __slots__ = ("key", "tracer")

    def __init__(self, key: VersionKey) -> None:
        """Trace nothing."""
        self.key = key
        self.tracer: Tracer | None = None


class TraceFile:
    """A file that several workers append to, a line at a time."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            OSError: It cannot be written.
        """
        self._descriptor = os.open(path, APPEND, 0o600)
        self._number = os.getpid() << ID_BITS
        self._is_full = False
        """Whether the one before was lost."""
        self._is_cut = False
        """Whether a part of one stands at the end, without an end of its line."""

    def write(self, key: VersionKey, item: Traced, moments: Moments) -> None:
        """Append one trace; what cannot be written is lost, and the first one in a row is told."""
        self._number += 1
        line = rest = self._is_cut * b"\n" + _line(self._number, key, item, moments)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            if not self._is_full:
                log.warning("trace_not_written", error=error.strerror)
        self._is_full = bool(rest)
        self._is_cut = self._is_full and (self._is_cut or len(rest) < len(line))

    def close(self) -> None:
        """Close it."""
        os.close(self._descriptor)


class Tracing:
    """The slots of all models of the process, as the node's settings want them."""

    def __init__(self) -> None:
        """Trace nothing."""
        self._slots: dict[VersionKey, TraceSlot] = {}
        self._tracers: dict[str, Tracer | None] = {}
        self._settings = Diagnostics()
        self._file: TraceFile | None = None
        self._tallies: dict[str, Tally] = {}

    def slot(self, key: VersionKey) -> TraceSlot:
        """Return a version's slot, the same for every form of it."""
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = TraceSlot(key)
            slot.tracer = self._tracer(key.model)
        return slot

    def change(self, settings: Diagnostics) -> None:
        """Obey other settings; counts begin anew for the models whose plan changed."""
        before, self._settings = self._settings, settings
        if settings.trace_file != before.trace_file:
            self._reopen(settings.trace_file)
        is_other_file = settings.trace_file != before.trace_file
        for model in list(self._tracers):
            if is_other_file or settings.plan(model) != before.plan(model):
                del self._tracers[model]
        for key, slot in self._slots.items():
            slot.tracer = self._tracer(key.model)
        used = {plan.tally for model in self._tracers if (plan := settings.plan(model))}
        for path in self._tallies.keys() - used:
            self._tallies.pop(path).close()

    def _tracer(self, model: str) -> Tracer | None:
        """Return a model's tracer, which all its versions share."""
        if model not in self._tracers:
            self._tracers[model] = self._begun(self._settings.plan(model))
        return self._tracers[model]

    def _begun(self, plan: TracePlan | None) -> Tracer | None:
        if plan is None or self._file is None:
            return None
        if plan.count <= 0:
            return Tracer(plan, self._file, None)
        try:
            if plan.tally not in self._tallies:
                self._tallies[plan.tally] = Tally(Path(plan.tally))
        except OSError as error:
            log.warning("trace_tally_not_opened", path=plan.tally, error=error.strerror)
            return None
        return Tracer(plan, self._file, self._tallies[plan.tally])

    def _reopen(self, path: str) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None
        try:
            self._file = TraceFile(Path(path)) if path else None
        except OSError as error:
            log.warning("trace_file_not_opened", path=path, error=error.strerror)


def _line(number: int, key: VersionKey, item: Traced, moments: Moments) -> bytes:
    times = {
        "REQUEST_START": item.enqueued_ns,
        "QUEUE_START": item.enqueued_ns,
        "COMPUTE_START": moments.begin_ns,
        "COMPUTE_INPUT_END": moments.infer_ns,
        "COMPUTE_OUTPUT_START": moments.split_ns,
        "COMPUTE_END": moments.end_ns,
        "REQUEST_END": moments.end_ns,
    }
    trace = {
        "id": number,
        "model_name": key.model,
        "model_version": key.version,
        "request_id": item.call.id,
        "timestamps": [{"name": name, "ns": at_ns} for name, at_ns in times.items()],
    }
    return msgspec.json.encode(trace) + b"\n"
