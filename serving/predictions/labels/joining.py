"""Joins labels with the predictions that they are about."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from runtimes.errors import InvalidArgumentError
from serving.ids import VersionKey
from serving.monitor.labels.rows import IntArray, Kind, Rows
from serving.predictions.ids import AFTER_ALL, first_id
from serving.predictions.labels.answers import (
    Answers,
    Table,
    add_answers,
    class_names,
    joined_tables,
    newest_answers,
)
from serving.predictions.labels.late import LateAnswers
from serving.predictions.labels.outcomes import Predicted, as_class, given_of, predicted_of
from serving.predictions.labels.reviews import Reviews
from serving.predictions.labels.store import LabelReader
from serving.predictions.labels.table import CellKey, Held, LabelBatch, LabelTable
from serving.predictions.labels.targets import Target, target_of
from serving.predictions.reading import Filter, PredictionReader

MAX_PREDICTIONS = 50_000
MAX_LATE = 100_000
"""Predictions whose labels were posted last, so many, are looked for among the older ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be joined."""

    predictions: Filter
    source: str | None = None
    """Only this source's labels; None: of all, the newest."""
    most: int = MAX_PREDICTIONS
    """The newest so many predictions are looked at."""
    takes_late: bool = False
    """Also so many older ones, if they have labels: those whose labels were posted last."""
    counts_outside: bool = True
    """Count labels of others, too, which takes memory for each."""
    grace_s: float = 7 * 86_400.0


@dataclass(slots=True, kw_only=True)
class Unjoined:
    """Rows with labels of which no prediction is known."""

    waiting: int = 0
    """Posted within the grace: the log may still bring it."""
    unknown: int = 0
    outside: int = 0
    """Their prediction is older than what was read, not of the time that was asked for, or of files
    that had the version's number before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """What labels of one output say of one version."""

    key: VersionKey
    digest: str
    """Of its files; labels of other files that had its number before do not count."""
    output: str
    """Empty: labels without a name."""
    target: Target
    rows: Rows
    held: Mapping[tuple[str, int], Held]
    """What was said of each labelled row, and by whom."""
    problems: Counter[str] = field(default_factory=Counter)
    """Labels and rows that could not be used, by why."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLabels:
    """All that is known of a model's labels."""

    model: str
    joined: tuple[Joined, ...]
    unjoined: Unjoined
    posted_rows: int
    """Rows that have a label, whether or not their prediction is known."""
    troubles: Mapping[VersionKey, str]
    """Versions whose labels cannot be read, and why."""
    is_cut: bool
    """There are older predictions than those that were looked at."""
    is_behind: bool = False
    """Some of those with labels are still to be looked for."""


def join_labels(
    predictions: PredictionReader,
    labels: LabelReader,
    wanted: Wanted,
    now_s: float,
    late: LateAnswers,
) -> ModelLabels:
    """Read and join; `wanted.predictions` names a model.

    Args:
        predictions: The log.
        labels: What lies beside it.
        wanted: What is to be joined.
        now_s: Since 1970.
        late: What was found of older predictions of the model.

    Raises:
        InvalidArgumentError: A segment cannot be read.
    """
    model = wanted.predictions.model
    of_model = replace(wanted.predictions, version=None)
    answers, is_cut = newest_answers(predictions, of_model, wanted.most)
    unjoined = _Unknown(answers, wanted, now_s, is_cut=is_cut)
    takes_late = wanted.takes_late and is_cut
    if takes_late:
        newest = _ids_of(answers)
        older = [one for one in _late_ids(labels.batches(model)) if one not in newest]
        add_answers(answers, late.look(predictions, older, of_model, wanted.most))
    ids = {one for each in answers.values() for one in each.ids}
    unjoined.replaced = _ids_of(answers) - ids
    table = LabelTable()
    for batch in labels.batches(model):
        table.add(batch, ids)
        unjoined.hear(
            (cell.prediction_id, cell.row, batch.posted_ns)
            for cell in batch.cells
            if cell.prediction_id not in ids
        )
    reviews = Reviews(labels.reviews(model))
    joined, troubles = [], {}
    by_version = _outputs(table, answers)
    for key in sorted(answers):
        if wanted.predictions.version not in {None, key.version}:
            continue
        for output in sorted(by_version[key] or {""}):
            try:
                joined.append(_joined(key, answers[key], output, _Said(table, reviews, wanted)))
            except InvalidArgumentError as error:
                troubles[key] = error.message
    known = {(key.prediction_id, key.row) for key in table.keys()}  # noqa: SIM118  no mapping
    table.empty()
    return ModelLabels(
        model=model,
        joined=tuple(_once(joined)),
        unjoined=unjoined.counts,
        posted_rows=len(known) + unjoined.row_count,
        troubles=troubles,
        is_cut=is_cut,
        is_behind=takes_late and late.is_behind,
    )


def _late_ids(batches: Iterable[LabelBatch]) -> list[str]:
    """Return the predictions whose labels were posted last, in that order."""
    found: dict[str, None] = {}
    for batch in batches:
        for cell in batch.cells:
            found.pop(cell.prediction_id, None)
            found[cell.prediction_id] = None
        while len(found) > MAX_LATE:
            del found[next(iter(found))]
    return list(found)


def _ids_of(answers: Mapping[VersionKey, Answers]) -> set[str]:
    return {one for each in answers.values() for one in (*each.ids, *each.replaced_ids)}


@dataclass(frozen=True, slots=True)
class _Said:
    table: LabelTable
    reviews: Reviews
    wanted: Wanted

    def tells(self, prediction_id: str, row: int, names: Iterable[str]) -> bool:
        """Return whether there is a label, without asking which: anybody may post a million."""
        cells = (CellKey(prediction_id, row, name) for name in names)
        return any(self.table.is_said(cell, self.wanted.source) for cell in cells)


class _Unknown:
    """Counts labels whose predictions are not there, each row once."""

    def __init__(
        self, answers: Mapping[VersionKey, Answers], wanted: Wanted, now_s: float, *, is_cut: bool
    ) -> None:
        oldest = min((min(each.answered_s, default=np.inf) for each in answers.values()), default=0)
        since, until = wanted.predictions.since, wanted.predictions.until
        since_s = 0.0 if since is None else since.timestamp()
        self._since_id = first_id(max(oldest if is_cut else 0.0, since_s) * 1e3)
        self._until_id = AFTER_ALL if until is None else first_id(until.timestamp() * 1e3)
        self._counts_outside = wanted.counts_outside
        self._grace_from_ns = (now_s - wanted.grace_s) * 1e9
        self._seen: set[int] = set()
        self.replaced: set[str] = set()
        self.counts = Unjoined()

    @property
    def row_count(self) -> int:
        return len(self._seen)

    def hear(self, cells: Iterable[tuple[str, int, int]]) -> None:
        for prediction_id, row, posted_ns in cells:
            is_asked = self._since_id <= prediction_id < self._until_id
            is_outside = not is_asked or prediction_id in self.replaced
            if is_outside and not self._counts_outside:
                continue
            name = hash((prediction_id, row))
            if name in self._seen:
                continue
            self._seen.add(name)
            if is_outside:
                self.counts.outside += 1
            elif posted_ns >= self._grace_from_ns:
                self.counts.waiting += 1
            else:
                self.counts.unknown += 1


def _outputs(
    table: LabelTable, answers: Mapping[VersionKey, Answers]
) -> dict[VersionKey, set[str]]:
    """Which outputs of each version have labels."""
    version_of = {one: key for key, each in answers.items() for one in each.ids}
    found: dict[VersionKey, set[str]] = {key: set() for key in answers}
    for cell in table.keys():  # noqa: SIM118  no mapping
        found[version_of[cell.prediction_id]].add(cell.output)
    return found


def _once(joined: Iterable[Joined]) -> Iterator[Joined]:
    """Leave out what another name of the same output has said already."""
    seen: set[tuple[VersionKey, frozenset[str]]] = set()
    for each in joined:
        name = each.key, each.target.names
        if name not in seen:
            seen.add(name)
            yield each


def _joined(key: VersionKey, answers: Answers, output: str, said: _Said) -> Joined:
    spec = answers.source.spec
    target = target_of(answers.source.served, spec.policy.labelled, class_names(spec), output)
    problems: Counter[str] = Counter()
    if answers.unkept:
        problems["outputs not kept"] = answers.unkept
    held = dict(_held(key, answers, target, said, problems))
    tables = _tables(answers, target)
    shown = predicted_of(target, tables, (each.label.value for each in held.values()))
    rows = _rows(answers, target, shown, held, problems)
    return Joined(
        key=key,
        digest=spec.digest,
        output=target.value or target.scores,
        target=target,
        rows=rows,
        held=held,
        problems=problems,
        notes=tuple(filter(None, (target.said, shown.note))),
    )


def _held(
    key: VersionKey, answers: Answers, target: Target, said: _Said, problems: Counter[str]
) -> Iterator[tuple[tuple[str, int], Held]]:
    """Yield the label that holds for each row, whichever of the output's names it came under."""
    names = ("", *sorted(target.names))
    for prediction_id, rows in zip(answers.ids, answers.row_counts, strict=True):
        labelled = said.table.rows_of(prediction_id)
        there = bisect_left(labelled, rows)
        if beyond := sum(said.tells(prediction_id, row, names) for row in labelled[there:]):
            problems["labels of rows that the request had not"] += beyond
        for row in labelled[:there]:
            found = [
                (held, CellKey(prediction_id, row, name))
                for name in names
                if (held := said.table.held(CellKey(prediction_id, row, name), said.wanted.source))
            ]
            if not found:
                continue
            # At one time the one that was posted last holds, whichever name it has.
            held, cell = max(found, key=_newness)
            why = _unusable(held, cell, key, said.reviews)
            if why:
                problems[why] += 1
            else:
                yield (prediction_id, row), held


def _newness(each: tuple[Held, CellKey]) -> tuple[int, int]:
    label = each[0].label
    return label.time_ns, label.posted_ns


def _unusable(held: Held, cell: CellKey, key: VersionKey, reviews: Reviews) -> str:
    if held.label.version not in {None, key.version}:
        return "labels posted for another version"
    review = reviews.of(cell, as_class(held.label.value))
    return "labels that a review found wrong" if review and review.verdict == "accept" else ""


def _tables(answers: Answers, target: Target) -> dict[str, Table]:
    try:
        return {
            name: joined_tables(answers.tensors[name])
            for name in (target.value, target.scores)
            if name
        }
    except (ValueError, KeyError) as error:
        raise InvalidArgumentError(
            "its outputs had rows of different shapes, or were not kept: look at fewer "
            "predictions, with --since and --until"
        ) from error


def _rows(
    answers: Answers,
    target: Target,
    shown: Predicted,
    held: Mapping[tuple[str, int], Held],
    problems: Counter[str],
) -> Rows:
    counts = np.asarray(answers.row_counts)
    total = int(counts.sum())
    begins = dict(zip(answers.ids, np.cumsum(counts) - counts, strict=True))
    given, known_s, posted_s = (np.full(total, np.nan) for _ in range(3))
    weight = np.ones(total)
    indices = {name: index for index, name in enumerate(shown.classes)}
    for (prediction_id, row), each in held.items():
        at = int(begins[prediction_id]) + row
        value = given_of(each.label.value, target, indices)
        if np.isnan(value):
            problems["labels of no class that is known, or no numbers"] += 1
            continue
        given[at], known_s[at] = value, each.label.time_ns / 1e9
        posted_s[at], weight[at] = each.first_posted_ns / 1e9, each.label.weight
    rows = Rows(
        kind=target.kind,
        classes=shown.classes,
        ids=np.repeat(np.asarray(answers.ids, dtype=object), counts),
        row=_numbers(counts),
        answered_s=np.repeat(np.asarray(answers.answered_s), counts),
        predicted=shown.predicted,
        given=given,
        known_s=known_s,
        posted_s=posted_s,
        weight=weight,
        scores=shown.scores if target.kind is Kind.CLASSES else None,
    )
    is_readable = np.isfinite(shown.predicted)
    if not is_readable.all():
        problems["rows whose outputs are not finite, or of no known class"] = int(
            np.count_nonzero(~is_readable)
        )
    return rows.taken(np.flatnonzero(is_readable)).in_order_of_answers()


def _numbers(counts: IntArray) -> IntArray:
    """Number the rows of each prediction from 0."""
    begins = np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(np.arange(int(counts.sum())) - begins)
