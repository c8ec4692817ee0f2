"""What a candidate's answers were compared with: golden samples, and the live version's. Pure."""

from typing import Final

from serving.monitor.comparison import ComparisonReport
from serving.registry.rollouts.record import RolloutState
from serving.rollout.report.differences import loaded
from serving.rollout.report.history import History
from serving.rollout.report.page import Block, Paragraph, Section, Table
from serving.rollout.report.words import NOTHING, count_of, percent, short

GOLDEN_CODE: Final = "BP-R01"
LONGEST_TEXT: Final = 2000
HASH_LETTERS: Final = 16


def golden(history: History) -> Section:
    """Say what a replay of golden samples gave before the candidate took a call."""
    return Section(
        title="Golden replay", blocks=(Paragraph(text=golden_text(history)), loaded(history))
    )


def golden_text(history: History) -> str:
    """Say the same in a sentence."""
    for stop in history.stops:
        notes = () if stop.kept.served is None else stop.kept.served.notes
        for note in notes:
            if note.startswith("golden:") or GOLDEN_CODE in note:
                return f"On the device that serves it: {note}."
    rollout, manifest = history.rollout, history.new.manifest
    if rollout.state is RolloutState.FAILED and GOLDEN_CODE in rollout.note:
        return f"It gave other results, and took no call: {rollout.note}"
    if manifest is not None and manifest.golden is None:
        return "Not measured: the bundle has no golden samples."
    has_loaded = any(stop.kept.served is not None for stop in history.stops)
    return (
        "Not measured: the candidate comes without golden samples."
        if has_loaded
        else "Not recorded: it was not loaded in this rollout, or by an older Bascule."
    )


def copies(history: History) -> Section:
    """Say what comparing answers to equal calls has shown, output by output."""
    report = newest_comparison(history)
    title = "Comparison of answers to equal calls"
    if report is None:
        text = "Not measured: no live call was copied to the candidate."
        return Section(title=title, blocks=(Paragraph(text=text),))
    deed = "are off by more than the tolerance"
    off = count_of(report.mismatched_rows, report.compared_rows, "rows", deed)
    told = (
        f"{report.copied_calls:,} live calls were copied, {report.compared_calls:,} of them were "
        f"answered and compared: {off}. {report.failed_calls:,} calls only the live version "
        f"could answer. {report.dropped_calls:,} copies were dropped and say nothing."
    )
    blocks: list[Block] = [Paragraph(text=told), _outputs(report)]
    if report.failure:
        text = f"The last failure: {short(report.failure, LONGEST_TEXT)}"
        blocks.append(Paragraph(text=text))
    if report.worst:
        blocks.append(_worst(report))
    return Section(title=title, blocks=tuple(blocks))


def newest_comparison(history: History) -> ComparisonReport | None:
    """Return what copies have shown last."""
    kept = [*(stop.kept for stop in history.stops), *([history.now] if history.now else [])]
    return next((one.comparison for one in reversed(kept) if one.comparison is not None), None)


def _outputs(report: ComparisonReport) -> Table:
    rows = tuple(
        (
            name,
            f"{one.mismatched_rows:,}",
            percent(one.mismatched_rows / report.compared_rows)
            if report.compared_rows
            else NOTHING,
            f"{one.largest_absolute_error:.6g}",
            f"{one.largest_relative_error:.6g}",
        )
        for name, one in report.outputs.items()
    )
    columns = ("output", "rows off", "share", "largest absolute error", "largest relative error")
    return Table(columns=columns, rows=rows)


def _worst(report: ComparisonReport) -> Table:
    rows = tuple(
        (
            one.output,
            str(one.row),
            f"{one.score:.4g}",
            one.expected,
            one.found,
            one.inputs,
            one.request_id or one.request_sha256[:HASH_LETTERS],
            one.reason,
        )
        for one in report.worst
    )
    columns = ("output", "row", "score", "live gave", "candidate gave", "inputs", "request", "why")
    return Table(columns=columns, rows=rows, caption="The worst rows")
