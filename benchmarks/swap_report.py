"""What callers saw of swaps: lost, wrong and stale answers, and latencies in and between swaps."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.report import machine_lines
from serving.cli.load.flips import Flip, judge
from serving.cli.load.ledger import Entry, Ledger, Outcome
from serving.cli.load.summary import quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time of one swap, until the version before has been stopped. Seconds, monotonic."""

    began_s: float
    ended_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Right answers of one kind of client, between swaps and in them."""

    name: str
    steady_count: int
    swap_count: int
    steady_p99_s: float
    swap_p99_s: float

    def ratio(self) -> float:
        """How many times the steady p99 the one during swaps is; 0: not measured."""
        return self.swap_p99_s / self.steady_p99_s if self.steady_p99_s else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the callers of one model saw."""

    model: str
    swap_count: int
    flip_count: int
    sent_count: int
    faults: dict[str, int]
    stale_count: int
    early_count: int
    finished_count: int
    sequence_count: int
    cut_count: int
    """Sequences that ended by a failure, which are among the faults."""
    longest_gap_s: float
    swap_median_s: float
    flip_median_s: float
    kinds: tuple[Kind, ...]
    rollbacks_s: tuple[float, ...]

    def is_clean(self) -> bool:
        """Whether nothing was lost, wrong or stale."""
        return not self.faults and not self.stale_count

    def facts(self) -> dict[str, object]:
        """Return it for JSON."""
        return {**asdict(self), "ratios": {kind.name: kind.ratio() for kind in self.kinds}}


def judged(
    model: str,
    ledger: Ledger,
    flips: Sequence[Flip],
    windows: Sequence[Window],
    warm_s: float,
    rollbacks_s: tuple[float, ...],
) -> Run:
    """Put the ledger of one model together with what happened to it.

    Latencies count from `warm_s` on, everything else from the start.
    """
    answers = judge(ledger.entries, flips)
    rollback_s = windows[-1].ended_s  # rollbacks follow: neither steady nor a swap
    kinds = sorted({_name(entry) for entry in ledger.entries})
    timed = [e for e in ledger.entries if warm_s <= e.sent_s < rollback_s]
    right = [e for e in timed if e.outcome is Outcome.RIGHT]
    return Run(
        model=model,
        swap_count=len(windows),
        flip_count=len(flips),
        sent_count=len(ledger.entries),
        faults=dict(Counter(_fault(entry) for entry in ledger.failed())),
        stale_count=len(answers.stale),
        early_count=len(answers.early),
        finished_count=answers.finished_count,
        sequence_count=len({e.sequence for e in ledger.entries if e.sequence}),
        cut_count=len({e.sequence for e in ledger.failed() if e.sequence}),
        longest_gap_s=ledger.longest_gap_s(),
        swap_median_s=median(window.ended_s - window.began_s for window in windows),
        flip_median_s=median(flip.done_s - flip.began_s for flip in flips),
        kinds=tuple(
            _kind(name, [e for e in right if name in {"all", _name(e)}], windows)
            for name in ("all", *kinds)
        ),
        rollbacks_s=rollbacks_s,
    )


def all_of(ledgers: Iterable[Ledger], windows: Sequence[Window], warm_s: float) -> Kind:
    """Return the latencies of all callers of all models together."""
    rollback_s = windows[-1].ended_s
    entries = [entry for ledger in ledgers for entry in ledger.entries]
    right = [e for e in entries if e.outcome is Outcome.RIGHT and warm_s <= e.sent_s < rollback_s]
    return _kind("all of both models", right, windows)


def _name(entry: Entry) -> str:
    return f"{entry.transport}, {entry.connection}, {entry.body_bytes:,} B"


def _fault(entry: Entry) -> str:
    """Name a fault; sequences differ by their numbers only."""
    return f"{entry.transport}: {re.sub(r'[0-9]{9,}', 'N', entry.error)[:200]}"


def _kind(name: str, entries: Sequence[Entry], windows: Sequence[Window]) -> Kind:
    swapping: list[float] = []
    steady: list[float] = []
    for entry in entries:
        is_swapping = any(w.began_s <= entry.sent_s < w.ended_s for w in windows)
        (swapping if is_swapping else steady).append(entry.answered_s - entry.sent_s)
    return Kind(
        name=name,
        steady_count=len(steady),
        swap_count=len(swapping),
        steady_p99_s=quantile(sorted(steady), 0.99),
        swap_p99_s=quantile(sorted(swapping), 0.99),
    )


def page(mode: str, together: Kind, runs: Sequence[Run]) -> str:
    """Return the report as Markdown."""
    lines = [f"# Swaps under load, {mode}", "", *machine_lines(), "", *_table([together]), ""]
    for run in runs:
        lines += [f"## {run.model}", "", *_lines(run), ""]
    return "\n".join(lines)


def _lines(run: Run) -> list[str]:
    lines = [
        (
            f"* {run.swap_count} swaps, each {run.swap_median_s:.2f} s (median, and 1 s after); "
            f"{run.flip_count} flips, from record to every edge {run.flip_median_s * 1e3:.0f} ms"
        ),
        (
            f"* {run.sent_count:,} requests, {sum(run.faults.values())} failed or wrong, "
            f"{run.stale_count} stale, {run.early_count} early, longest gap between right answers "
            f"{run.longest_gap_s * 1e3:.0f} ms"
        ),
    ]
    if run.sequence_count:
        lines.append(
            f"* {run.sequence_count:,} sequences, {run.cut_count} of them cut; "
            f"{run.finished_count:,} answers by the version that their sequence began on, after "
            "it had ceased to be live"
        )
    if run.rollbacks_s:
        lines.append(
            f"* `bascule rollback`, from the command's start to its end: median "
            f"{median(run.rollbacks_s):.2f} s of {len(run.rollbacks_s)}, "
            f"{min(run.rollbacks_s):.2f} to {max(run.rollbacks_s):.2f} s"
        )
    lines += [f"* **{count} times** {fault}" for fault, count in run.faults.items()]
    return [*lines, "", *_table(run.kinds)]


def _table(kinds: Iterable[Kind]) -> list[str]:
    return [
        "| client | steady | in swaps | p99 steady ms | p99 in swaps ms | ratio |",
        "|---|---:|---:|---:|---:|---:|",
        *(
            f"| {kind.name} | {kind.steady_count:,} | {kind.swap_count:,} | "
            f"{kind.steady_p99_s * 1e3:.1f} | {kind.swap_p99_s * 1e3:.1f} | {kind.ratio():.2f} |"
            for kind in kinds
        ),
    ]
