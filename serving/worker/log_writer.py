"""The thread that encodes and writes the prediction log, and the one that moves it elsewhere.

A place that cannot be written costs what is to be written meanwhile, counted, and is tried again
after a pause.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from serving.predictions.folder import Bounds, SegmentFolder
from serving.predictions.order import SEGMENTS_OF_ROOM, LogOrder
from serving.predictions.removed import count_predictions
from serving.predictions.writing import RecordTooLargeError, SegmentWriter
from serving.wire.tensors import Buffer
from serving.worker.log_encoding import TensorHeads, encode_batch
from serving.worker.log_queue import CallQueue, LoggedVersion, TakenBatch
from serving.worker.log_sources import LogSources

POLL_S: Final = 1.0
LINGER_S: Final = 0.2
"""Calls wait for others to be written with: each time that this thread works, the loop waits for
the interpreter's lock."""
MAX_BATCHES: Final = 512
"""After so many it is looked after segments again."""
TOGETHER_BYTES: Final = 1 << 16
PAUSE_NS: Final = 1_000_000_000
"""After a failed write, until the next one is tried."""
SEAL_S: Final = 3600.0
SEAL_FOR_MOVING_S: Final = 60.0
TEND_NS: Final = 120_000_000_000
"""What is too old goes so often, although nothing is written."""

log = structlog.get_logger(__name__)


class WriterThread:
    """Encodes and writes, and moves finished segments where the log is kept elsewhere."""

    def __init__(
        self,
        order: LogOrder,
        queue: CallQueue,
        sources: LogSources,
        now_ns: Callable[[], int],
        unix_ns: Callable[[], int],
    ) -> None:
        """Take the parts; `start` begins."""
        self._order = order
        self._queue = queue
        self._sources = sources
        self._now_ns = now_ns
        self._unix_ns = unix_ns
        self._is_closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._heads = TensorHeads()
        self._retry_ns = 0
        self._tend_ns = 0
        self._is_crowded = False
        self._is_failing = False

    def start(self, stem: str) -> None:
        """Begin; `stem` names this process in the names of segments."""
        bounds = Bounds(
            max_bytes=self._order.max_bytes,
            segment_bytes=self._order.segment_bytes,
            retention_s=self._order.retention_s,
        )
        folder = SegmentFolder(Path(self._order.folder), bounds)
        self._folder = folder
        seal_s = SEAL_FOR_MOVING_S if self._order.url else SEAL_S
        self._writer = SegmentWriter(folder, stem, seal_s=seal_s, now_ns=self._unix_ns)
        works = [self._write_always]
        if self._order.url:
            from serving.predictions.moving import Mover  # noqa: PLC0415  fsspec, if it is needed

            self._mover = Mover(folder.path, self._order.url, bounds)
            works.append(self._move_always)
        # Nobody waits for its end: it may be reading gigabytes.
        threading.Thread(target=self._sources.read_always, daemon=True).start()
        # Daemons: a disk or a store that hangs must not keep a stopped worker alive.
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    def close(self, timeout_s: float) -> bool:
        """See `PredictionLog.close`."""
        self._is_closing.set()
        self._queue.wake()
        for thread in self._threads:
            thread.join(timeout_s)
        if calls := self._queue.waiting_calls:
            log.warning("prediction_log_lost_at_end", calls=calls, waited_s=timeout_s)
        return not any(thread.is_alive() for thread in self._threads)

    def _write_always(self) -> None:
        while not (self._is_closing.is_set() and self._queue.is_empty):
            first = self._queue.take(POLL_S if not self._is_closing.is_set() else 0.0)
            if first is not None:
                # More come meanwhile: waking up, writing and tending cost as much for many.
                self._queue.hurry.wait(LINGER_S)
                self._queue.hurry.clear()
                if self._is_closing.is_set():  # perhaps since
                    self._queue.hurry.set()
                self._write_waiting(first)
            self._tend()
        self._tend()
        self._try(self._writer.seal)

    def _write_waiting(self, first: TakenBatch) -> None:
        """Write what waits, several batches of one version at a time."""
        batch: TakenBatch | None = first
        together: list[TakenBatch] = []
        for _ in range(MAX_BATCHES):
            if batch is None:
                break
            held = sum([one.held_bytes for one in together]) + batch.held_bytes
            if together and (batch.version is not together[0].version or held > TOGETHER_BYTES):
                self._write(together)
                together = []
            together.append(batch)
            batch = self._queue.take(0.0)
        if together:
            self._write(together)
        if batch is not None:
            self._write([batch])

    def _write(self, batches: Sequence[TakenBatch]) -> None:
        """Write batches of one version, and give their room back."""
        version = batches[0].version
        count = sum([len(batch.calls) for batch in batches])
        try:
            self._write_records(version, batches, count)
        except RecordTooLargeError:
            version.tally.too_large += count
        except OSError as error:
            version.tally.write_failed += count
            self._fail(error)
        except Exception:  # process edge: one call that cannot be written must not end the log
            version.tally.write_failed += count
            log.exception("prediction_not_logged", model_number=version.number)
        for batch in batches:
            self._queue.done(batch)

    def _write_records(
        self, version: LoggedVersion, batches: Sequence[TakenBatch], count: int
    ) -> None:
        tally = version.tally
        if self._now_ns() < self._retry_ns:
            tally.write_failed += count
            return
        self._sources.tell(self._writer, version.number)
        offset_ns = self._unix_ns() - self._now_ns()
        records: list[Buffer] = []
        for batch in batches:
            records += encode_batch(batch, offset_ns, self._heads)
        written = self._writer.write(version.number, records)
        tally.written += count
        tally.written_bytes += written
        if self._is_failing:
            self._is_failing = False
            log.info("prediction_log_works_again", folder=self._order.folder)

    def _tend(self) -> None:
        """Finish a segment that is old, let go what is too old, and say what went too early."""
        self._try(self._writer.seal_if_old)
        self._sources.forget(self._writer)
        if self._now_ns() >= self._tend_ns:
            self._tend_ns = self._now_ns() + TEND_NS
            self._try(self._keep_bounds)
        self._count_removed()
        if self._folder.writer_count >= SEGMENTS_OF_ROOM and not self._is_crowded:
            self._is_crowded = True
            log.warning(
                "prediction_log_is_crowded",
                writers=self._folder.writer_count,
                max_bytes=self._order.max_bytes,
                hint="records go early: raise BASCULE_PREDICTION_LOG_BYTES",
            )

    def _keep_bounds(self) -> None:
        self._folder.keep_bounds(self._unix_ns() // 1_000_000)

    def _count_removed(self) -> None:
        for removed in self._folder.take_removed():
            counted = count_predictions(removed.content)
            for key, count in counted.items():
                for tally in self._sources.tallies(key):
                    tally.removed += count
                    break
            log.warning(
                "prediction_log_made_room",
                segment=removed.name,
                predictions={str(key): count for key, count in counted.items()},
                max_bytes=self._order.max_bytes,
            )

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self._retry_ns = self._now_ns() + PAUSE_NS
        if not self._is_failing:
            self._is_failing = True
            reason = error.strerror or str(error)
            log.warning("prediction_log_fails", folder=self._order.folder, reason=reason)

    def _move_always(self) -> None:
        while not self._is_closing.wait(POLL_S):
            self._move()
        self._threads[0].join(POLL_S)
        self._move()

    def _move(self) -> None:
        if not self._folder.path.is_dir():
            return
        try:
            self._mover.move(self._unix_ns() // 1_000_000)
        except Exception as error:  # noqa: BLE001  process edge: stores raise what they like
            log.warning("prediction_log_not_moved", reason=str(error)[:200])
            self._is_closing.wait(POLL_S)
