"""What tuning found: for a terminal, and as the evidence that goes into a bundle. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.text import Text

from serving.cli.render import duration_text, size_text
from serving.cli.tables import plain_table
from serving.cli.tune.records import Trial, Tuning, best_of, frontier
from serving.cli.tune.words import joining_text, scheduling_text

COLUMNS = ("", "workers", "threads", "calls", "calls/s", "p50", "p99", "memory")
CLIENT_BUSY = 0.8
"""Of a CPU: whoever sends with so much is a limit itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where and when it was measured."""

    utc: str
    cpu_model: str
    platform: str
    packages: dict[str, str]
    load_before: tuple[float, ...]
    """Load averages when it began: what else ran."""


def table_rows(found: Tuning) -> Iterator[tuple[str, ...]]:
    """Yield a row for each trial, the highest rate first."""
    slo_s = found.slo_p99_s
    edge = frontier(found.trials, slo_s)
    for one in sorted(found.trials, key=lambda trial: -trial.rate(slo_s)):
        marks = ("frontier" if one in edge else "", "present" if _is_present(found, one) else "")
        yield (
            ", ".join(mark for mark in marks if mark),
            str(one.scheduling.instances),
            str(one.scheduling.threads),
            joining_text(one.scheduling),
            *_figures(one, slo_s),
        )


def _figures(one: Trial, slo_s: float) -> tuple[str, ...]:
    if one.failure:
        return ("failed", "-", "-", "-")
    held = one.best(slo_s)
    if held is None:
        return ("0", "-", duration_text(one.least_p99_s()), size_text(one.memory_bytes))
    times = duration_text(held.p50_s), duration_text(held.p99_s)
    return (f"{held.rate:,.1f}", *times, size_text(one.memory_bytes))


def view(found: Tuning) -> RenderableType:
    """Show it at a terminal."""
    table = plain_table(COLUMNS, right={*COLUMNS} - {"", "calls"})
    for row in table_rows(found):
        table.add_row(*(Text(cell) for cell in row))
    name = f"{found.model}:{found.version}" if found.version else found.model
    limit = f"p99 of at most {found.slo_p99_s * 1e3:g} ms"
    head = Text.assemble((name, "bold"), f"  {limit}; {found.inputs}; {found.cpus} CPUs")
    return Group(head, table, *(Text(line) for line in lines(found)))


def lines(found: Tuning) -> Iterator[str]:
    """Yield what came of it, a sentence each."""
    slo_s = found.slo_p99_s
    if found.skipped:
        names = "; ".join(scheduling_text(one) for one in found.skipped)
        yield f"not tried, for the budget of {found.budget_s:g} s was spent: {names}"
    yield from (f"{scheduling_text(t.scheduling)}: {t.failure}" for t in found.trials if t.failure)
    best = best_of(found.trials, slo_s)
    held = best.best(slo_s) if best else None
    if held is not None and held.client_share > CLIENT_BUSY:
        yield (
            f"sending took {held.client_share:.0%} of a CPU: the clients are a limit, and the "
            "model can do more than is shown"
        )
    yield from found.notes
    yield verdict(found)


def verdict(found: Tuning) -> str:
    """Say in a sentence what to run."""
    if found.best is None:
        return unreachable(found)
    if found.comparison is None and found.best != found.present:
        return (
            f"not settled: {scheduling_text(found.best)} was best in the search, but not compared"
        )
    if found.comparison is None:
        return f"the present scheduling is the best that was tried: {scheduling_text(found.best)}"
    best, present = (_rates(r) for r in _compared(found))
    told = f"{scheduling_text(found.best)} made {best} calls/s, the present one {present}"
    if found.chosen() is None:
        return f"no better than the present within noise: measured in turns, {told}"
    gain = found.comparison.gain()
    return f"better: measured in turns, {told}" + (f" ({gain:.2f} times)" if gain else "")


def unreachable(found: Tuning) -> str:
    """Say how far from the promise the best came."""
    best = min(found.trials, key=lambda one: one.least_p99_s())
    return (
        f"no scheduling keeps a p99 of {found.slo_p99_s * 1e3:g} ms at any rate: the best came to "
        f"{duration_text(best.least_p99_s())} with {scheduling_text(best.scheduling)}"
    )


def page(found: Tuning, where: Where) -> str:
    """Return it as Markdown; the plot lies beside it."""
    name = f"{found.model}:{found.version}" if found.version else found.model
    rule = "|".join("---" for _ in COLUMNS)
    table = (f"| {' | '.join(row)} |" for row in table_rows(found))
    packages = ", ".join(f"{key} {value}" for key, value in sorted(where.packages.items()))
    return "\n".join(
        (
            f"# {name}: calls/s with a p99 of at most {found.slo_p99_s * 1e3:g} ms",
            "",
            f"* {where.utc}, {where.cpu_model}, {found.cpus} CPUs, {where.platform}",
            f"* load averages before: {_rates(where.load_before)}",
            f"* {packages}",
            f"* inputs: {found.inputs}; {len(found.trials)} trials in {found.took_s:.0f} s",
            "",
            f"| {' | '.join(COLUMNS)} |",
            f"|{rule}|",
            *table,
            "",
            "![calls/s against CPUs](tuning.svg)",
            "",
            *(f"* {line}" for line in lines(found)),
            "",
        )
    )


def _compared(found: Tuning) -> tuple[Sequence[float], Sequence[float]]:
    compared = found.comparison
    return (compared.best_rates, compared.present_rates) if compared else ((), ())


def _rates(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:,.1f}" for rate in rates)


def _is_present(found: Tuning, one: Trial) -> bool:
    return one.scheduling == found.present
