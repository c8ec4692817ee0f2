"""Watches rows of a worker's answered calls for drift: the loop copies, a thread counts.

::

    replies were handed over → sampled, one row a call → ring ──► thread ──► sums (`reports`)
                                               full: skipped, counted

The sums are asked for by the worker's host; the controller adds those of all workers and decides.
"""

import random
import threading
import uuid
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import structlog

from runtimes.errors import BasculeError
from serving.ids import VersionKey
from serving.monitor.drift.storage import from_bytes
from serving.monitor.drift.stream import DriftReport, RunningTotal
from serving.registry.version import ServedVersion
from serving.worker.drift.binding import Binding
from serving.worker.drift.version_watch import Plan, VersionWatch
from serving.worker.tap import Observer, TappedVersion

LOOK_S: Final = 0.25
FULL_ROWS: Final = 256
"""So many rows are encoded at once: a row of a few costs many times more."""
LOOKS_BETWEEN: Final = 4
"""Fewer rows wait for so many looks."""

log = structlog.get_logger(__name__)


class DriftMonitor:
    """The monitor of one worker process."""

    def __init__(self, rate_per_s: float, unix_s: Callable[[], float]) -> None:
        """Start the thread.

        Args:
            rate_per_s: Rows of each version that are watched in a second, at most.
            unix_s: Seconds since 1970.
        """
        self._rate_per_s = rate_per_s
        self._unix_s = unix_s
        self._watches: dict[VersionKey, weakref.ref[VersionWatch]] = {}
        self._unprepared: list[tuple[weakref.ref[VersionWatch], ServedVersion]] = []
        self._lock = threading.Lock()
        self._is_closing = threading.Event()
        # A daemon: what it has not counted at the process's end is lost, and nobody misses it.
        self._thread = threading.Thread(target=self._count_always, daemon=True)
        self._thread.start()

    def tap(self, version: TappedVersion) -> Observer | None:
        """Return the observer of a version that was loaded; None: it has no reference."""
        spec = version.spec
        if not spec.reference:
            return None
        watch = VersionWatch(spec, self._rate_per_s, draw=random.random)
        reference = weakref.ref(watch)
        with self._lock:
            self._watches[spec.key] = reference
            self._unprepared.append((reference, version.served))
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
            look += 1
            self._prepare()
            for watch in self._living():
                self._count(watch, least=1 if look % LOOKS_BETWEEN == 0 else FULL_ROWS)

    def _prepare(self) -> None:
        """Read the references of versions that were loaded, away from the loop."""
        while True:
            with self._lock:
                if not self._unprepared:
                    return
                reference, served = self._unprepared.pop(0)
            watch = reference()
            if watch is None:
                continue
            spec = watch.spec
            try:
                watch.follow(_plan(spec.reference, served, watch))
            except (BasculeError, OSError) as error:
                watch.trouble = str(error)
                log.warning("drift_not_watched", version=str(spec.key), reason=str(error))
            except Exception as error:  # process edge: others are watched all the same
                watch.trouble = f"internal error: {type(error).__name__}"
                log.exception("drift_not_watched", version=str(spec.key))

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


def _plan(file: str, served: ServedVersion, watch: VersionWatch) -> Plan:
    profile = from_bytes(Path(file).read_bytes())
    binding = Binding(profile, served, watch.spec.contract)
    return Plan(
        profile=profile,
        encoder=profile.encoder,
        binding=binding,
        ring=binding.ring(),
        total=RunningTotal(uuid.uuid4().hex[:16]),
    )


def _report(watch: VersionWatch, known: Mapping[str, int]) -> DriftReport:
    spec, plan = watch.spec, watch.plan
    if plan is None:
        return DriftReport(model=spec.model, version=spec.version, trouble=watch.trouble)
    epoch = plan.total.epoch
    return DriftReport(
        model=spec.model,
        version=spec.version,
        digest=plan.profile.digest,
        epoch=epoch,
        records=plan.total.after(known.get(epoch, 0)),
        skipped_rows=watch.skipped_rows + watch.failed_rows,
        trouble=watch.trouble,
    )
