"""Keeps answered calls: the loop picks and appends, a thread of its own encodes and writes.

::

    replies are encoded → a share is named ─┐
    replies were handed over → those named ─┴► queue ──► writer's thread ──► segments
                                          full: lost, counted        failed: lost, counted

Serving never waits for the log: what does not fit the queue is lost at once, and a place that
cannot be written is tried again after a pause. The queue is bounded in calls and in bytes that it
keeps from being freed.
"""

import weakref
from collections.abc import Callable, Sequence

import numpy as np

from runtimes.contract import Array
from runtimes.devices import device
from serving.monitor.log_counts import LogTally
from serving.predictions.ids import PredictionIds
from serving.predictions.order import LogOrder
from serving.predictions.record import Route, Source
from serving.registry.environment import Environment, environment_of
from serving.registry.version import VersionSpec
from serving.wire.padding_fit import fit_padding
from serving.wire.tensors import array_bytes
from serving.worker.ensemble_flow import StepCall
from serving.worker.executor import Ran
from serving.worker.log_queue import CallQueue, LoggedVersion, TakenBatch, TakenCall
from serving.worker.log_sources import LogSources
from serving.worker.log_writer import WriterThread
from serving.worker.own_environment import OwnEnvironment
from serving.worker.prediction_names import PredictionNames
from serving.worker.queued import QueuedCall
from serving.worker.tap import EvenSampler, Observer, TappedVersion


class VersionLog:
    """Picks the calls of one version: the observer."""

    def __init__(
        self, version: LoggedVersion, queue: CallQueue, ids: PredictionIds, rate: float
    ) -> None:
        """Keep what has a name, and this share of the calls that no reply could name."""
        self._version = version
        self._queue = queue
        self._ids = ids
        self._sampler = EvenSampler(rate)
        self._skip = self._sampler.skipped()
        """Calls without a reply to pass over: an ensemble's steps, and copies."""
        self._batch_count = 0

    def take(self, ran: Ran, end_ns: int) -> None:
        """Keep the chosen calls of a batch."""
        has_run = ran.split_ns > ran.begin_ns
        if has_run:
            self._batch_count += 1
        if _are_passed_over(ran.batch):
            return
        chosen = self._chosen(ran.batch)
        if not chosen:
            return
        calls: list[TakenCall] = []
        first_row = held_bytes = begin = 0
        for index in chosen:
            item = ran.batch[index]
            first_row += sum([before.rows for before in ran.batch[begin:index]])
            begin = index
            calls.append(self._taken(item, ran.outputs[index], index, first_row))
            held_bytes += item.size_bytes
        batch = TakenBatch(
            self._version,
            calls,
            self._batch_count if has_run else 0,
            ran.rows,
            len(ran.batch),
            (ran.begin_ns, ran.infer_ns, ran.split_ns, end_ns),
            held_bytes + sum(map(_owned_bytes, ran.outputs[0])),
            self._padded_length(ran),
        )
        if not self._queue.put(batch):
            self._version.tally.queue_full += len(calls)

    def _padded_length(self, ran: Ran) -> int:
        padding = self._version.padding
        return padding.padded_length([item.call.shapes for item in ran.batch]) if padding else 0

    def _chosen(self, batch: Sequence[QueuedCall]) -> list[int]:
        chosen = []
        for index, item in enumerate(batch):
            asked = item.asked
            name: str | None = getattr(asked, "prediction_id", None)
            if name is None:
                if self._skip:
                    self._skip -= 1
                    continue
                self._skip = self._sampler.skipped()
            elif not name:
                continue
            if not asked.is_private:
                chosen.append(index)
        return chosen

    def _taken(
        self, item: QueuedCall, outputs: Sequence[Array], index: int, first_row: int
    ) -> TakenCall:
        asked = item.asked
        named: str | None = getattr(asked, "prediction_id", None)
        return TakenCall(
            named or self._ids.make(),
            item.call,
            outputs,
            item.rows,
            index,
            first_row,
            item.enqueued_ns,
            _route(asked),
            named is not None or isinstance(asked, StepCall),
        )


class PredictionLog:
    """The log of one worker. `tap` and `names_for` are the loop's; the thread is started by it."""

    def __init__(
        self,
        order: LogOrder,
        worker: str,
        pid: int,
        *,
        own: OwnEnvironment,
        now_ns: Callable[[], int],
        unix_ns: Callable[[], int],
    ) -> None:
        """Start the writer.

        Args:
            order: Where to, and what.
            worker: This worker's name.
            pid: This process.
            own: What it computes with.
            now_ns: The monotonic clock of batches.
            unix_ns: Nanoseconds since 1970.
        """
        self._order = order
        self._worker = worker
        self._pid = pid
        self._own = own
        self._ids = PredictionIds(unix_ns)
        self._queue = CallQueue()
        self._count = 0
        self._sources = LogSources()
        self._thread = WriterThread(order, self._queue, self._sources, now_ns, unix_ns)
        self._thread.start(f"{worker}-{pid}")

    def names_for(self, spec: VersionSpec) -> PredictionNames | None:
        """Return what names a version's predictions; None: its configuration wants no log."""
        rate = self._order.with_policy(spec.policy.log).rate
        return PredictionNames(self._ids, rate) if rate else None

    def is_private(self, spec: VersionSpec) -> bool:
        """Tell whether less than everything is kept of an ensemble; its steps must not tell it."""
        return not self._order.with_policy(spec.policy.log).is_whole

    def tap(self, version: TappedVersion) -> Observer | None:
        """Return the observer of a version that was loaded."""
        policy = self._order.with_policy(version.spec.policy.log)
        if not policy.rate:
            return None
        self._count += 1
        tally = version.statistics.log = version.statistics.log or LogTally()
        self._sources.add(
            Source(
                number=self._count,
                worker=self._worker,
                pid=self._pid,
                spec=version.spec,
                served=version.served,
                environment=self._environment(version),
                policy=policy,
            ),
            tally,
        )
        padding = fit_padding(version.spec.policy.padding, version.served)
        logged = LoggedVersion(self._count, version.served, policy, tally, padding)
        # When the version was unloaded and none of its calls waits any more.
        weakref.finalize(logged, self._sources.close, self._count).atexit = False
        return VersionLog(logged, self._queue, self._ids, policy.rate)

    def close(self, timeout_s: float) -> bool:
        """Write what waits, as far as the time allows; say whether the thread has ended."""
        return self._thread.close(timeout_s)

    def _environment(self, version: TappedVersion) -> Environment | None:
        facts, served = self._own.known, version.served
        if facts is None or version.spec.policy.ensemble:
            return None
        return environment_of(
            facts,
            format_name=version.spec.format,
            threads=served.threads,
            device=device(served.device),
        )


def _are_passed_over(batch: Sequence[QueuedCall]) -> bool:
    """Whether every call has a reply that was not named: so it is of nearly all batches."""
    try:
        for call in batch:  # a generator costs twice as much
            if call.prediction_id:
                return False
    except AttributeError:  # no reply was made of one
        return False
    return True


def _route(asked: QueuedCall) -> Route:
    if asked.is_copy:
        return "shadow"
    if isinstance(asked, StepCall):
        return "step"
    return "chosen" if asked.is_routed else "explicit"


def _owned_bytes(array: Array) -> int:
    return array_bytes(array.base if isinstance(array.base, np.ndarray) else array)
