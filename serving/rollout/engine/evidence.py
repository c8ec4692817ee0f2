"""What one rollout's guardrails are shown: the difference of two looks at workers is a window.

The watch that is folded over windows is kept with every change of the rollout (`kept`), so that a
controller that is started again goes on from the last change; what came after it is seen anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from serving.ids import VersionKey
from serving.monitor.comparison import ComparisonReport
from serving.monitor.traffic import Lives, TrafficDelta, deltas, unanswered
from serving.registry.rollouts.record import Rollout, RolloutState, Transition
from serving.rollout.engine.guardrails import (
    Ruling,
    Verdict,
    Watch,
    Window,
    baking,
    judged,
    next_step,
    observe,
)
from serving.rollout.engine.kept import (
    Kept,
    Sample,
    arm_of,
    figures_of,
    readable_kept,
    with_sample,
)
from serving.rollout.engine.label_signs import NO_LABELS, LabelCounts
from serving.rollout.ports import WorkerState

BASELINE_CALLS: Final = 1000
"""With fewer calls before the flip, all that the live version has answered is compared with."""
COMPARED_STATES: Final = frozenset(
    {RolloutState.SHADOW, RolloutState.CANARY, RolloutState.SWITCHED}
)
"""States in which something of the candidate can be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What copies of calls have shown, in all."""

    calls: int = 0
    rows: int = 0
    mismatched_rows: int = 0
    """Rows outside their tolerance, and calls that only the live version could answer."""
    largest_error: str = ""
    report: ComparisonReport | None = None
    """The same output by output, with the worst rows; None: nothing was copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What is seen of both versions at one moment."""

    at_s: float
    lives: Lives
    workers: Sequence[WorkerState] = ()
    """All of the candidate's pool."""
    compared: Compared = Compared()
    elapsed_s: float = 0.0
    """Since the rollout was recorded, by the wall clock."""
    labels: LabelCounts | None = None
    """What labels say of both, in all; None: it is not known yet."""


class Evidence:
    """Gathers for one rollout. Belongs to the driver's task."""

    def __init__(self, rollout: Rollout, transitions: Sequence[Transition] = ()) -> None:
        """Go on from what was kept with the last change that kept anything that can be read."""
        self._key = rollout.candidate
        old = rollout.from_version
        self._old = None if old is None else VersionKey(rollout.model, old)
        self._rails = rollout.plan.guardrails
        kept = [readable_kept(one.evidence) for one in reversed(transitions)]
        watches = (one.watch for one in kept if one.watch is not None)
        self._watch = next(watches, Watch(seed=rollout.id))
        self._kept_restart_count = self._watch.restart_count
        reports = (one.comparison for one in kept if one.comparison is not None)
        self._report = next(reports, None)
        self._samples: tuple[Sample, ...] = ()
        self._place = (rollout.state, rollout.step)
        self._first: Look | None = None
        self._last: Look | None = None
        self._recent = TrafficDelta()
        self._history = TrafficDelta()
        self._crashes: set[tuple[str, int]] = set()
        self._old_crashes: set[tuple[str, int]] | None = None
        self._compared = Compared()
        self._place_compared = Compared()
        self._labels: LabelCounts | None = None

    @property
    def keys(self) -> tuple[VersionKey, ...]:
        """The versions to look at."""
        return (self._key,) if self._old is None else (self._key, self._old)

    def is_due(self, now_s: float, window_s: float) -> bool:
        """Whether the last look is so long ago."""
        return self._last is None or now_s - self._last.at_s >= window_s

    def told(self) -> str:
        """Say what is seen now, in a state in which something is compared."""
        return self.verdict().reason if self._place[0] in COMPARED_STATES else ""

    def see(self, look: Look) -> None:
        """Add what happened since the look before."""
        self._note_crashes(look.workers)
        labels = self._new_labels(look.labels)
        first, last = self._first, self._last
        self._last = look
        self._report = look.compared.report or self._report
        if first is None or last is None:
            self._first = look
            self._compared = self._place_compared = look.compared
            self._history = _history(look.lives, self._old)
            return
        lives = {**unanswered(last.lives, look.lives), **look.lives}
        found = deltas(last.lives, lives, watched_s=look.at_s - first.at_s)
        self._last = replace(look, lives=lives)
        live = TrafficDelta() if self._old is None else found.get(self._old, TrafficDelta())
        if self._watch.baseline is None:
            self._recent += live
        before, self._compared = self._compared, look.compared
        window = Window(
            duration_s=look.at_s - last.at_s,
            candidate=found.get(self._key, TrafficDelta()),
            live=live,
            compared_rows=max(0, look.compared.rows - before.rows),
            mismatched_rows=max(0, look.compared.mismatched_rows - before.mismatched_rows),
            largest_error=look.compared.largest_error,
            restart_count=self._kept_restart_count + len(self._crashes),
            rss_bytes=_own_rss_bytes(look.workers),
            labels=labels,
        )
        if self._place[0] in COMPARED_STATES:
            self._watch = observe(self._watch, window, self._rails)
            self._samples = with_sample(
                self._samples,
                Sample(
                    from_s=last.elapsed_s,
                    until_s=look.elapsed_s,
                    candidate=arm_of(window.candidate),
                    live=arm_of(live),
                ),
            )

    def move(self, rollout: Rollout) -> None:
        """Take note of the rollout's new place."""
        place = (rollout.state, rollout.step)
        if place == self._place:
            return
        self._place, self._place_compared = place, self._compared
        self._samples = ()
        if rollout.state is not RolloutState.SWITCHED:
            self._watch = next_step(self._watch)
        elif self._watch.baseline is None:
            self._watch = baking(self._watch, self._baseline())

    def verdict(self) -> Verdict:
        """Say whether to go on."""
        found = judged(self._watch, self._rails)
        enough = self.call_count() >= self._rails.min_call_count
        if self._place[0] is RolloutState.SHADOW and found.ruling is not Ruling.BREACH and enough:
            texts = "; ".join(f"{one.guardrail}: {one.text}" for one in found.findings)
            reason = f"{self.call_count():,} copied calls were compared; {texts}"
            return Verdict(ruling=Ruling.ENOUGH, reason=reason, findings=found.findings)
        return found

    def call_count(self) -> int:
        """Count the candidate's calls in this state and step; copies, where it gets only those."""
        if self._place[0] is RolloutState.SHADOW:
            return self._compared.calls - self._place_compared.calls
        return self._watch.step_call_count

    def kept(self, next_state: RolloutState) -> str:
        """Write what goes on record with a change into a state."""
        found = self.verdict()
        watch = self._watch
        if next_state is RolloutState.SWITCHED and watch.baseline is None:
            watch = baking(watch, self._baseline())
        elif next_state is not RolloutState.SWITCHED:
            watch = next_step(watch)
        return Kept(
            verdict=found.reason,
            findings=found.findings,
            watch=watch,
            figures=figures_of(self._watch, self._rails.latency_quantile),
            samples=self._samples,
            comparison=self._report,
        ).encoded()

    def _baseline(self) -> TrafficDelta:
        """Return the live version's traffic from before the flip."""
        recent = self._recent
        return recent if recent.call_count >= BASELINE_CALLS else self._history + recent

    def _new_labels(self, now: LabelCounts | None) -> LabelCounts:
        """Return what labels have come since the last look; the first one is where counts begin."""
        before = self._labels or now
        if now is None or before is None:
            return NO_LABELS
        self._labels = now
        return now.since(before)

    def _note_crashes(self, workers: Sequence[WorkerState]) -> None:
        """Count ends of workers that the candidate was at work in, since the first look."""
        seen = {
            (worker.address.worker, worker.restart_count)
            for worker in workers
            if worker.crashed_on == self._key
        }
        if self._old_crashes is None:
            self._old_crashes = seen
        self._crashes |= seen - self._old_crashes


def _history(lives: Lives, key: VersionKey | None) -> TrafficDelta:
    """Return all that a version's workers have counted."""
    total = TrafficDelta()
    for series in lives.values():
        for one in series:
            if one.key == key:
                total += one.counted
    return total


def _own_rss_bytes(workers: Sequence[WorkerState]) -> int:
    """Return the memory of the largest of workers that host one version; 0: they host more."""
    return max((worker.rss_bytes for worker in workers if len(worker.versions) == 1), default=0)


def workers_of(
    observed: Mapping[str, Sequence[WorkerState]], key: VersionKey
) -> tuple[WorkerState, ...]:
    """Return the workers that host a version, or died while it was at work."""
    return tuple(
        worker
        for workers in observed.values()
        for worker in workers
        if key in worker.versions or worker.crashed_on == key
    )
