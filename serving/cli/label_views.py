"""How `bascule labels` shows what it found."""

from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from serving.cli.tables import plain_table
from serving.monitor.labels.drop import DropReport, DropState
from serving.monitor.labels.estimate import Estimate
from serving.monitor.labels.intervals import Figure
from serving.monitor.labels.performance import Figures, Window
from serving.predictions.labels.book import (
    LabelStatus,
    Performance,
    VersionPerformance,
    VersionStatus,
)
from serving.predictions.labels.forecast import ModelForecast
from serving.predictions.labels.review_queue import SuspectList, VersionSuspects

MAX_CLASSES = 20
NEWEST = "only the newest predictions were read"
CUT = f"{NEWEST}: --limit, --since"
CUT_BUT_LATE = "of older predictions only those with labels were read: --limit, --since"
DAY_S = 86_400
HOUR_S = 3600
MINUTE_S = 60


def status_view(found: LabelStatus) -> RenderableType:
    """Return what `bascule labels status` shows."""
    rate = "" if found.join_rate is None else f" ({found.join_rate:.1%})"
    told = (
        f"{found.model}: {found.posted_rows} labelled rows, of {found.joined_rows}{rate} the "
        f"prediction is known; {found.waiting_rows} wait for theirs to be logged, of "
        f"{found.unknown_rows} it never was, of {found.outside_rows} it is outside of what was read"
    )
    parts: list[RenderableType] = [Text(told)]
    if found.is_cut:
        parts.append(Text(CUT))
    for each in found.versions:
        parts += [Text(""), *map(Text, _status_lines(found.model, each))]
        if each.classes:
            parts.append(_shares(each))
    return Group(*parts, *_troubles(found.model, found.troubles))


def performance_view(found: Performance) -> RenderableType:
    """Return what `bascule labels performance` shows."""
    parts: list[RenderableType] = []
    for each in found.versions:
        parts += [*map(Text, _performance_lines(each))]
        if each.figures.classes:
            parts.append(_classes(each.figures))
        if each.windows:
            parts.append(_windows(each.windows))
        parts.append(Text(_drop_line(each.drop)))
    if not found.versions and not found.troubles:
        parts.append(Text(f"no prediction of {found.model} is in the log"))
    if found.outside_rows:
        told = f"{found.outside_rows} labelled rows do not count: their prediction is outside of "
        parts.append(Text(f"{told}what was read"))
    if found.is_cut:
        parts.append(Text(CUT_BUT_LATE))
    return Group(*parts, *_troubles(found.model, found.troubles))


def suspects_view(found: SuspectList) -> RenderableType:
    """Return what `bascule labels suspects` shows."""
    parts: list[RenderableType] = []
    for each in found.versions:
        head = f"{found.model}:{each.version} {each.output}  "
        if each.unavailable:
            parts.append(Text(f"{head}unavailable: {each.unavailable}"))
            continue
        parts.append(
            Text(
                f"{head}{each.found} of {each.labelled_rows} labels look wrong, "
                f"{len(each.suspects)} are shown; {each.dismissed} were found right"
            )
        )
        if each.suspects:
            parts.append(_suspects(each))
    if found.is_cut:
        parts.append(Text(CUT))
    return Group(*parts, *_troubles(found.model, found.troubles))


def forecast_view(found: ModelForecast) -> RenderableType:
    """Return what `bascule labels estimate` shows."""
    parts: list[RenderableType] = []
    for each in found.versions:
        head = f"{found.model}:{each.version} {each.output}  "
        expected = each.estimate
        if expected.unavailable:
            parts.append(Text(f"{head}unavailable: {expected.unavailable}"))
            continue
        parts += [
            Text(
                f"{head}ESTIMATE, no measurement: accuracy "
                f"{figure_text(expected.accuracy, is_share=True)} of {expected.rows} rows without "
                f"labels, calibrated on {expected.calibration_rows} with"
            ),
            Text(f"  {expected.assumption}"),
            _expected(expected),
        ]
    if found.unasked:
        parts.append(Text(f"not taken into account: {found.unasked}"))
    if found.is_cut:
        parts.append(Text(NEWEST))
    return Group(*parts, *_troubles(found.model, found.troubles))


def figure_text(figure: Figure | None, *, is_share: bool = False) -> str:
    """Return a figure with its interval."""
    if figure is None:
        return "-"
    if is_share:
        return f"{figure.value:.1%} [{figure.low:.1%}, {figure.high:.1%}]"
    return f"{figure.value:.4g} [{figure.low:.4g}, {figure.high:.4g}]"


def delay_text(delay_s: float | None) -> str:
    """Return a delay for people."""
    if delay_s is None:
        return "-"
    for unit_s, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if delay_s >= unit_s:
            return f"{delay_s / unit_s:.1f} {unit}"
    return f"{delay_s:.1f} s"


def _status_lines(model: str, each: VersionStatus) -> Iterator[str]:
    share = each.labelled_rows / each.rows if each.rows else 0.0
    yield (
        f"{model}:{each.version} {each.output}  {each.kind.value}; {each.labelled_rows} of "
        f"{each.rows} rows have a label ({share:.1%}), {delay_text(each.delay_p50_s)} after the "
        f"answer (p50), {delay_text(each.delay_p95_s)} (p95)"
    )
    named = (f"{name or 'unnamed'} {count}" for name, count in sorted(each.sources.items()))
    yield (
        f"  sources: {', '.join(named) or 'none'}; corrected: {each.corrected_rows}, disputed: "
        f"{each.disputed_rows}"
    )
    yield from (f"  {note}" for note in each.notes)
    yield from (f"  left out: {why}: {count}" for why, count in sorted(each.problems.items()))


def _shares(each: VersionStatus) -> Table:
    table = _table("predicted class", "rows", "with a label", "share")
    for one in each.classes[:MAX_CLASSES]:
        share = f"{one.labelled / one.predicted:.1%}"
        table.add_row(Text(one.name), str(one.predicted), str(one.labelled), share)
    return table


def _performance_lines(each: VersionPerformance) -> Iterator[str]:
    figures = each.figures
    yield (
        f"{each.model}:{each.version} {each.output}  {each.kind.value}; {each.labelled_rows} of "
        f"{each.rows} rows have a label"
    )
    if not figures.rows:
        return
    shown = {
        "accuracy": figure_text(figures.accuracy, is_share=True) if figures.accuracy else "",
        "log-loss": figure_text(figures.log_loss) if figures.log_loss else "",
        "AUC": figure_text(figures.auc) if figures.auc else "",
        "MAE": figure_text(figures.mae) if figures.mae else "",
        "RMSE": figure_text(figures.rmse) if figures.rmse else "",
        "bias": figure_text(figures.bias) if figures.bias else "",
    }
    yield "  " + "; ".join(f"{name} {text}" for name, text in shown.items() if text)
    yield from (f"  {note}" for note in each.notes)


def _classes(figures: Figures) -> Table:
    table = _table("class", "labels", "predicted", "precision", "recall")
    for one in figures.classes[:MAX_CLASSES]:
        precision, recall = (
            figure_text(figure, is_share=True) for figure in (one.precision, one.recall)
        )
        table.add_row(Text(one.name), str(one.labelled), str(one.predicted), precision, recall)
    return table


def _windows(windows: tuple[Window, ...]) -> Table:
    is_classes = any(window.figures.accuracy for window in windows)
    measured = "accuracy" if is_classes else "MAE"
    table = _table("from (UTC)", "to", "labels", measured)
    for window in windows:
        figures = window.figures
        figure = figures.accuracy if is_classes else figures.mae
        table.add_row(
            f"{window.begin:%Y-%m-%d %H:%M:%S}",
            f"{window.end:%Y-%m-%d %H:%M:%S}",
            str(figures.rows),
            figure_text(figure, is_share=is_classes),
        )
    return table


def _suspects(each: VersionSuspects) -> Table:
    table = _table("prediction", "row", "label", "likely", "margin", "probabilities")
    for one in each.suspects:
        said = ", ".join(f"{chance.name} {chance.probability:.3f}" for chance in one.probabilities)
        cells = (one.prediction_id, str(one.row), one.given, one.likely, f"{one.margin:.3f}", said)
        table.add_row(*map(Text, cells))
    return table


def _expected(found: Estimate) -> Table:
    table = _table("class", "rows expected", "precision", "recall")
    for one in found.classes[:MAX_CLASSES]:
        shares = ("-" if each is None else f"{each:.1%}" for each in (one.precision, one.recall))
        table.add_row(Text(one.name), f"{one.expected_rows:.1f}", *shares)
    return table


def _drop_line(drop: DropReport) -> str:
    if drop.state is DropState.LEARNING:
        return (
            f"  drop alert: learning; {drop.reference_rows} of {drop.needed_rows} labels that make "
            "the reference"
        )
    told = (
        f"bad rows ({drop.bad}): {figure_text(drop.reference, is_share=True)} of the first "
        f"{drop.reference_rows} labels, {figure_text(drop.recent, is_share=True)} lately; "
        f"limit {drop.limit:.1%}"
    )
    if drop.state is DropState.STEADY:
        return f"  drop alert: none; {told}"
    return (
        f"  DROPPED since {drop.since:%Y-%m-%d %H:%M:%S} UTC; {told}; a false alarm has a chance "
        f"of {drop.alpha:.0%} in a version's life"
    )


def _troubles(model: str, troubles: Mapping[str, str]) -> Iterator[Text]:
    yield from (Text(f"{model}:{version}: {why}") for version, why in troubles.items())


def _table(*columns: str) -> Table:
    return plain_table(columns)
