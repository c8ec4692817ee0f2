"""The queue of labels that look wrong, and what people decide about each."""

from collections.abc import Mapping
from dataclasses import dataclass

from runtimes.errors import InvalidArgumentError
from serving.errors import NotFoundError
from serving.monitor.labels.rows import Kind
from serving.monitor.labels.suspects import (
    MIN_ROWS,
    ConfidentClass,
    Suspect,
    confident_classes,
    suspects_of,
)
from serving.predictions.labels.joining import Joined, ModelLabels
from serving.predictions.labels.outcomes import as_class
from serving.predictions.labels.reviews import Reviews
from serving.predictions.labels.store import LabelReader
from serving.predictions.labels.table import CellKey, LabelTable


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSuspects:
    """Labels of one version that look wrong, and that nobody has looked at."""

    version: int
    output: str
    labelled_rows: int
    found: int
    """So many are waiting, shown or not."""
    dismissed: int
    suspects: tuple[Suspect, ...]
    thresholds: tuple[ConfidentClass, ...]
    unavailable: str = ""
    """Why there can be no list; empty: there can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspectList:
    """Labels of a model that look wrong."""

    model: str
    versions: tuple[VersionSuspects, ...]
    is_cut: bool
    troubles: Mapping[str, str]


def suspect_list(found: ModelLabels, reviews: Reviews, most: int) -> SuspectList:
    """List the labels that look wrong, without those that somebody found right.

    Args:
        found: What was joined; labels that were found wrong are not in it.
        reviews: What was decided.
        most: So many of each version are shown.
    """
    return SuspectList(
        model=found.model,
        versions=tuple(_of_version(each, reviews, most) for each in found.joined),
        is_cut=found.is_cut,
        troubles={str(key.version): why for key, why in found.troubles.items()},
    )


def label_under_review(
    labels: LabelReader, model: str, prediction_id: str, row: int, output: str | None
) -> tuple[CellKey, str]:
    """Find the label that somebody has looked at.

    Args:
        labels: All labels.
        model: Whose.
        prediction_id: Which prediction's.
        row: Which of its rows.
        output: Which output's, as the label named it; None: the only one.

    Returns:
        What the label is about, and which class it names.

    Raises:
        NotFoundError: There is none.
        InvalidArgumentError: There are several.
    """
    table = LabelTable()
    for batch in labels.batches(model):
        table.add(batch, {prediction_id})
    keys = [key for key in table.keys() if key.row == row and output in {None, key.output}]  # noqa: SIM118  no mapping
    if not keys:
        raise NotFoundError(f"row {row} of prediction {prediction_id} of {model} has no label")
    if len(keys) > 1:
        named = ", ".join(repr(key.output) for key in keys)
        raise InvalidArgumentError(f"the row has labels of several outputs ({named}): name one")
    held = table.held(keys[0])
    if held is None:
        raise NotFoundError(f"row {row} of prediction {prediction_id} of {model} has no label")
    return keys[0], as_class(held.label.value)


def _of_version(joined: Joined, reviews: Reviews, most: int) -> VersionSuspects:
    rows = joined.rows
    found = suspects_of(rows)
    waiting = [one for one in found if not _is_dismissed(joined, reviews, one)]
    return VersionSuspects(
        version=joined.key.version,
        output=joined.output,
        labelled_rows=len(rows.labelled),
        found=len(waiting),
        dismissed=len(found) - len(waiting),
        suspects=tuple(waiting[:most]),
        thresholds=confident_classes(rows),
        unavailable=_why_not(joined),
    )


def _is_dismissed(joined: Joined, reviews: Reviews, suspect: Suspect) -> bool:
    """Whether somebody found this label right, whichever name of the output it came under."""
    held = joined.held[suspect.prediction_id, suspect.row]
    given = as_class(held.label.value)
    decided = [
        reviews.of(CellKey(suspect.prediction_id, suspect.row, name), given)
        for name in ("", *joined.target.names)
    ]
    return any(one is not None and one.verdict == "dismiss" for one in decided)


def _why_not(joined: Joined) -> str:
    rows = joined.rows
    if rows.kind is Kind.NUMBER:
        return "labels are numbers: only classes are looked through"
    if rows.scores is None:
        return "its outputs have no scores"
    if len(rows.labelled) < MIN_ROWS:
        return f"{len(rows.labelled)} rows have labels, {MIN_ROWS} are needed"
    return ""
