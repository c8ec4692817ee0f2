"""What is said of a model's labels: how many came, and how good its versions are by them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from runtimes.errors import InvalidArgumentError
from serving.monitor.labels.drop import DropReport, drop_of
from serving.monitor.labels.performance import Cut, Figures, Window, figures_of, windows_of
from serving.monitor.labels.rows import Kind
from serving.predictions.labels.findings import KeptFindings
from serving.predictions.labels.joining import Joined, ModelLabels, Wanted, join_labels
from serving.predictions.labels.late import LateAnswers
from serving.predictions.labels.references import Findings, References, reference_name
from serving.predictions.labels.store import FOLDER, LabelReader
from serving.predictions.reading import PredictionReader

MAX_CLASSES = 100
MAX_WINDOW_DIGITS = 9
LONGEST_WINDOW_S = 36_500 * 86_400
"""Its end is shown as a moment, which a calendar must have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassShare:
    """How many answers of one class have a label: a class without any says nothing."""

    name: str
    predicted: int
    labelled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionStatus:
    """The labels of one version."""

    version: int
    output: str
    kind: Kind
    rows: int
    labelled_rows: int
    delay_p50_s: float | None
    """From the answer to the moment when the label was known."""
    delay_p95_s: float | None
    classes: tuple[ClassShare, ...]
    sources: Mapping[str, int]
    """Rows by whose label holds."""
    corrected_rows: int
    disputed_rows: int
    problems: Mapping[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelStatus:
    """The labels of a model; `versions` may be one of several."""

    model: str
    posted_rows: int
    joined_rows: int
    """Rows with a label whose prediction was found."""
    join_rate: float | None
    waiting_rows: int
    """Posted lately; their prediction may still be logged."""
    unknown_rows: int
    outside_rows: int
    """Their prediction is older than what was read, or not of the time that was asked for."""
    is_cut: bool
    versions: tuple[VersionStatus, ...]
    troubles: Mapping[str, str] = field(default_factory=dict)
    """Version → why its labels cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionPerformance:
    """How good one version is."""

    model: str
    version: int
    output: str
    kind: Kind
    rows: int
    labelled_rows: int
    figures: Figures
    windows: tuple[Window, ...]
    drop: DropReport
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """How good the versions of a model are."""

    model: str
    versions: tuple[VersionPerformance, ...]
    outside_rows: int
    """Labels that do not count: their prediction is older than what was read, not of the time that
    was asked for, or of files that had the version's number before."""
    is_cut: bool
    troubles: Mapping[str, str]


class LabelBook:
    """Reads logs and the labels beside them; blocks."""

    def __init__(self, *places: str) -> None:
        """Read these logs: folders or fsspec URLs."""
        self.kept = KeptFindings(f"{place}/{FOLDER}" for place in places if place)
        """What was learnt of labels, and found."""
        self.predictions = PredictionReader(*places)
        self.labels = LabelReader(*places)

    def joined(self, wanted: Wanted, now_s: float, late: LateAnswers | None = None) -> ModelLabels:
        """Return everything that labels say of a model.

        Args:
            wanted: What is to be joined.
            now_s: Since 1970.
            late: What was found of older predictions before; None: all are looked for now.

        Raises:
            InvalidArgumentError: A segment cannot be read.
        """
        return join_labels(self.predictions, self.labels, wanted, now_s, late or LateAnswers())

    def status(self, wanted: Wanted, now_s: float) -> LabelStatus:
        """Count a model's labels.

        Raises:
            InvalidArgumentError: A segment cannot be read.
        """
        return status_of(self.joined(wanted, now_s))

    def performance(self, wanted: Wanted, cut: Cut, now_s: float) -> Performance:
        """Judge a model's versions, also by older predictions if those have labels.

        Raises:
            InvalidArgumentError: A segment cannot be read.
        """
        found = self.joined(replace(wanted, takes_late=True), now_s)
        # What was learnt of all sources' labels is no measure for those of one.
        if wanted.source is not None:
            return performance_of(found, cut)
        return performance_of(found, cut, self.kept.references(), self.kept.findings())


def status_of(found: ModelLabels) -> LabelStatus:
    """Count what was joined."""
    missing = found.unjoined
    joined = found.posted_rows - missing.waiting - missing.unknown - missing.outside
    return LabelStatus(
        model=found.model,
        posted_rows=found.posted_rows,
        joined_rows=joined,
        join_rate=joined / found.posted_rows if found.posted_rows else None,
        waiting_rows=missing.waiting,
        unknown_rows=missing.unknown,
        outside_rows=missing.outside,
        is_cut=found.is_cut,
        versions=tuple(map(_status, found.joined)),
        troubles=_named(found),
    )


def performance_of(
    found: ModelLabels,
    cut: Cut,
    references: References | None = None,
    findings: Findings | None = None,
) -> Performance:
    """Judge what was joined.

    Args:
        found: Labels with their predictions.
        cut: Into which windows.
        references: What is known of versions' first labels; those of others are taken from what was
            joined.
        findings: What later labels have shown before.
    """
    known, judged = references or {}, findings or {}
    versions = tuple(
        VersionPerformance(
            model=found.model,
            version=each.key.version,
            output=each.output,
            kind=each.rows.kind,
            rows=len(each.rows),
            labelled_rows=int(np.count_nonzero(each.rows.is_labelled)),
            figures=figures_of(each.rows),
            windows=windows_of(each.rows, cut) if cut.rows or cut.seconds else (),
            drop=drop_of(each.rows, known.get(name), judged.get(name), learns=not found.is_behind),
            notes=each.notes,
        )
        for each in found.joined
        for name in [reference_name(each.key, each.digest, each.output)]
    )
    return Performance(
        model=found.model,
        versions=versions,
        outside_rows=found.unjoined.outside,
        is_cut=found.is_cut,
        troubles=_named(found),
    )


def cut_of(text: str) -> Cut:
    """Read how rows are cut into windows: `500` rows, or `30m`, `1h`, `1d`; empty: not at all.

    Raises:
        InvalidArgumentError: It is neither.
    """
    units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    number = text[:-1] if text[-1:] in units else text
    if not text:
        return Cut()
    is_number = number.isascii() and number.isdecimal() and len(number) <= MAX_WINDOW_DIGITS
    size = int(number) * units.get(text[-1], 1) if is_number else 0
    if number == text and size:
        return Cut(rows=size)
    if not 0 < size <= LONGEST_WINDOW_S:
        raise InvalidArgumentError(
            f"window '{text[:40]}': a number of rows (500) or a time (30m, 1h, 1d) is expected, of "
            f"{MAX_WINDOW_DIGITS} digits and {LONGEST_WINDOW_S // units['d']} days at most"
        )
    return Cut(seconds=size)


def _status(joined: Joined) -> VersionStatus:
    rows = joined.rows
    known = rows.labelled
    delays = np.maximum(known.known_s - known.answered_s, 0)
    p50, p95 = np.quantile(delays, (0.5, 0.95)) if len(known) else (None, None)
    return VersionStatus(
        version=joined.key.version,
        output=joined.output,
        kind=rows.kind,
        rows=len(rows),
        labelled_rows=len(known),
        delay_p50_s=None if p50 is None else float(p50),
        delay_p95_s=None if p95 is None else float(p95),
        classes=tuple(_shares(joined)),
        sources=Counter(each.label.source for each in joined.held.values()),
        corrected_rows=sum(each.correction_count > 0 for each in joined.held.values()),
        disputed_rows=sum(each.is_disputed for each in joined.held.values()),
        problems=dict(joined.problems),
        notes=joined.notes,
    )


def _shares(joined: Joined) -> list[ClassShare]:
    rows = joined.rows
    if rows.kind is Kind.NUMBER:
        return []
    count = len(rows.classes)
    told = np.bincount(rows.predicted.astype(np.int64), minlength=count)
    known = np.bincount(rows.labelled.predicted.astype(np.int64), minlength=count)
    shown = [index for index in np.argsort(-told, kind="stable")[:MAX_CLASSES] if told[index]]
    return [
        ClassShare(name=rows.classes[at], predicted=int(told[at]), labelled=int(known[at]))
        for at in sorted(shown)
    ]


def _named(found: ModelLabels) -> dict[str, str]:
    return {str(key.version): why for key, why in found.troubles.items()}
