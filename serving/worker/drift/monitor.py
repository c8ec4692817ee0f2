"""Watches rows of a worker's answered calls for drift: the loop copies, a thread counts.

::

    replies were handed over → sampled, one row a call → ring ──► thread ──► sums (`reports`)
                                               full: skipped, counted

The sums are asked for by the worker's host; the controller adds those of all workers and decides.
A version without a reference learns one from its first rows, if it is asked to.
"""

import random
import threading
import uuid
import weakref
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from runtimes.errors import BasculeError
from serving.ids import VersionKey
from serving.monitor.drift.stream import DriftReport
from serving.monitor.drift_order import DriftOrder
from serving.worker.drift.preparing import Preparing
from serving.worker.drift.sinks import Collected, Sums
from serving.worker.drift.version_watch import VersionWatch
from serving.worker.tap import Observer, TappedVersion

LOOK_S: Final = 0.25
FULL_ROWS: Final = 256
"""So many rows are encoded at once: a row of a few costs many times more."""
LOOKS_BETWEEN: Final = 4
"""Fewer rows wait for so many looks; so does a look for references."""

log = structlog.get_logger(__name__)


class DriftMonitor:
    """The monitor of one worker process."""

    def __init__(self, order: DriftOrder, unix_s: Callable[[], float]) -> None:
        """Start the thread.

        Args:
            order: What is watched.
            unix_s: Seconds since 1970.
        """
        self._order = order
        self._unix_s = unix_s
        self._watches: dict[VersionKey, weakref.ref[VersionWatch]] = {}
        self._preparing: weakref.WeakKeyDictionary[VersionWatch, Preparing]
        self._preparing = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._is_closing = threading.Event()
        # A daemon: what it has not counted at the process's end is lost, and nobody misses it.
        self._thread = threading.Thread(target=self._count_always, daemon=True)
        self._thread.start()

    def tap(self, version: TappedVersion) -> Observer | None:
        """Return the observer of a version that was loaded; None: it is not watched."""
        spec = version.spec
        if not self._order.is_watched(spec):
            return None
        watch = VersionWatch(spec, self._order.rows_per_s, draw=random.random)
        with self._lock:
            self._watches[spec.key] = weakref.ref(watch)
            self._preparing[watch] = Preparing(self._order, version.served)
        return watch

    def reports(self, known: Mapping[str, int]) -> list[DriftReport]:
        """Return what is known of every version that is watched.

        Args:
            known: Epoch → the latest record that who asks has heard.
        """
        return [_report(watch, known) for watch in self._living()]

    def close(self, timeout_s: float) -> bool:
        """End the thread; say whether it has ended in time."""
        self._is_closing.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _living(self) -> list[VersionWatch]:
        with self._lock:
            found = {key: reference() for key, reference in self._watches.items()}
            for key in [key for key, watch in found.items() if watch is None]:
                del self._watches[key]
        return [watch for watch in found.values() if watch is not None]

    def _count_always(self) -> None:
        look = 0
        while not self._is_closing.wait(LOOK_S):
            is_thorough = look % LOOKS_BETWEEN == 0
            look += 1
            for watch in self._living():
                if is_thorough:
                    self._prepare(watch)
                self._count(watch, least=1 if is_thorough else FULL_ROWS)

    def _prepare(self, watch: VersionWatch) -> None:
        """Find the reference of a version that has none yet, away from the loop."""
        with self._lock:
            preparing = self._preparing.get(watch)
        if preparing is None:
            return
        try:
            is_done = preparing.look(watch, uuid.uuid4().hex[:16])
        except OSError as error:  # it may be over by the next look
            self._note(watch, str(error))
        except BasculeError as error:
            self._fail(watch, str(error))
        except Exception as error:  # process edge: others are watched all the same
            self._fail(watch, f"internal error: {type(error).__name__}")
            log.exception("drift_not_watched", version=str(watch.spec.key))
        else:
            if is_done:
                watch.trouble = ""
                self._prepared(watch)

    def _fail(self, watch: VersionWatch, trouble: str) -> None:
        """Give a version up."""
        self._note(watch, trouble)
        self._prepared(watch)

    def _note(self, watch: VersionWatch, trouble: str) -> None:
        if watch.trouble != trouble:
            log.warning("drift_not_watched", version=str(watch.spec.key), reason=trouble)
        watch.trouble = trouble

    def _prepared(self, watch: VersionWatch) -> None:
        """Forget how this load of a version was prepared: another one may be under way."""
        with self._lock:
            self._preparing.pop(watch, None)

    def _count(self, watch: VersionWatch, least: int) -> None:
        plan = watch.plan
        if plan is None:
            return
        least = min(least, plan.ring.capacity // 2)
        try:
            while plan.ring.waiting >= least and watch.count_waiting(self._unix_s):
                pass
        except Exception as error:  # process edge: rows that cannot be encoded are left out
            if not watch.trouble:
                log.exception("rows_not_watched", version=str(watch.spec.key))
            watch.trouble = f"rows that cannot be encoded: {type(error).__name__}: {error}"


def _report(watch: VersionWatch, known: Mapping[str, int]) -> DriftReport:
    spec, sink = watch.spec, watch.plan.sink if watch.plan else None
    skipped = watch.skipped_rows + watch.failed_rows
    if not isinstance(sink, Sums):
        return DriftReport(
            model=spec.model,
            version=spec.version,
            skipped_rows=skipped,
            learnt_rows=sink.rows if isinstance(sink, Collected) else 0,
            trouble=watch.trouble,
        )
    epoch = sink.total.epoch
    return DriftReport(
        model=spec.model,
        version=spec.version,
        digest=sink.profile.digest,
        epoch=epoch,
        records=sink.total.after(known.get(epoch, 0)),
        skipped_rows=skipped,
        trouble=watch.trouble,
    )
