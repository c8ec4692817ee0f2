"""Labels find the predictions that they are about, whichever came first."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from runtimes.contract import TensorSpec
from serving.ids import VersionKey
from serving.monitor.labels.performance import Cut
from serving.predictions.labels.book import LabelBook, LabelStatus, Performance
from serving.predictions.labels.joining import Wanted
from serving.predictions.labels.reviews import Review
from serving.predictions.labels.table import CellKey, Held, LabelTable
from serving.predictions.reading import Filter
from serving.registry.policies.label_policy import LabelPolicy
from tests.fakes.labelled_log import LabelledLog, class_spec, number_spec, scores_spec

THREE = np.asarray([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7]])
DAY_NS = 86_400 * 10**9


def status(log: LabelledLog, *, grace_s: float = 3600.0, most: int = 100) -> LabelStatus:
    """What is counted now."""
    wanted = Wanted(predictions=Filter(model="m"), grace_s=grace_s, most=most)
    return LabelBook(str(log.folder)).status(wanted, log.now_s)


def performance(log: LabelledLog, *, most: int = 100) -> Performance:
    """What is found now."""
    wanted = Wanted(predictions=Filter(model="m"), most=most)
    return LabelBook(str(log.folder)).performance(wanted, Cut(), log.now_s)


@pytest.fixture(name="log_with")
def log_with_outputs(tmp_path: Path) -> Callable[..., LabelledLog]:
    """Makes a log of a model with these outputs."""
    return lambda *outputs: LabelledLog(tmp_path / "log", outputs)


def test_a_label_may_come_before_its_prediction(log_with: Callable[..., LabelledLog]) -> None:
    """It waits for it, and then counts as if it had come after."""
    log = log_with(scores_spec(3))
    named = log.name()
    log.label(named, 1, row=1)
    early = status(log)
    log.log({"p": THREE}, prediction_id=named)
    late = status(log)

    assert (early.posted_rows, early.joined_rows, early.waiting_rows) == (1, 0, 1)
    assert (late.posted_rows, late.joined_rows, late.waiting_rows) == (1, 1, 0)
    assert late.versions[0].labelled_rows == 1


def test_a_label_without_a_prediction_is_unknown_after_its_grace(
    log_with: Callable[..., LabelledLog],
) -> None:
    """And one whose prediction is older than what was read is told apart."""
    log = log_with(scores_spec(3))
    old = log.log({"p": THREE})
    log.label(old, 0)
    log.log({"p": THREE})
    log.label(log.name(), 1)
    log.now_ns += DAY_NS
    found = status(log, most=1)

    assert (found.unknown_rows, found.outside_rows, found.is_cut) == (1, 1, True)


def test_late_labels_find_their_predictions(log_with: Callable[..., LabelledLog]) -> None:
    """Older predictions without a label are left aside; labels of what is gone are counted."""
    log = log_with(scores_spec(3))
    gone = log.name()
    late = log.log({"p": THREE})
    for _ in range(4):
        log.log({"p": THREE})
    log.label(gone, 0)
    log.label(late, 1)
    book = LabelBook(str(log.folder))
    wanted = Wanted(predictions=Filter(model="m"), most=2, takes_late=True, counts_outside=False)
    found, told = book.status(wanted, log.now_s), performance(log, most=2)

    assert [(one.rows, one.labelled_rows) for one in found.versions] == [(9, 1)]
    assert (found.posted_rows, found.outside_rows, found.waiting_rows) == (1, 0, 0)
    assert [(one.rows, one.labelled_rows) for one in told.versions] == [(9, 1)]
    assert (told.outside_rows, told.is_cut) == (1, True)


def test_one_version_or_one_time_leaves_others_aside(
    log_with: Callable[..., LabelledLog],
) -> None:
    """Labels of what was not asked for are not told to be unknown."""
    log = log_with(scores_spec(3))
    for version in (1, 2):
        log.label(log.log({"p": THREE}, key=VersionKey("m", version)), 0)
    begin = datetime.fromtimestamp(log.now_s, UTC)
    log.now_ns += DAY_NS
    log.label(log.log({"p": THREE}, key=VersionKey("m", 2)), 0)
    book = LabelBook(str(log.folder))
    one = book.status(Wanted(predictions=Filter(model="m", version=1)), log.now_s)
    late = book.status(Wanted(predictions=Filter(model="m", since=begin)), log.now_s)

    assert ([each.version for each in one.versions], one.join_rate) == ([1], 1.0)
    assert (late.joined_rows, late.outside_rows, late.waiting_rows) == (1, 2, 0)


def test_shares_and_delays_are_told_for_each_predicted_class(
    log_with: Callable[..., LabelledLog],
) -> None:
    """A class whose answers get no labels is seen."""
    log = log_with(scores_spec(3))
    named = log.log({"p": THREE})
    log.label(named, "0")
    log.label(named, 2, row=1, time_ns=log.now_ns + 9 * 10**9)
    found = status(log).versions[0]

    assert [(one.name, one.predicted, one.labelled) for one in found.classes] == [
        ("0", 1, 1),
        ("1", 1, 1),
        ("2", 1, 0),
    ]
    assert found.delay_p50_s == pytest.approx(5.5)


def test_what_cannot_be_used_is_counted_and_why(log_with: Callable[..., LabelledLog]) -> None:
    """Rows that were not asked, classes that do not exist, labels that a review found wrong."""
    log = log_with(scores_spec(3))
    named = log.log({"p": THREE})
    for row, value in ((0, 0), (1, 7), (2, 1), (9, 1)):
        log.label(named, value, row=row)
    decided = {"who": "ann", "reason": "", "at_ns": 1, "model": "m", "output": ""}
    log.store.add_review(Review(prediction_id=named, row=2, given="1", verdict="accept", **decided))
    found = status(log).versions[0]

    assert found.labelled_rows == 1
    assert sum(found.problems.values()) == 3


@pytest.mark.parametrize(
    ("policy", "outputs", "label", "right"),
    [
        (LabelPolicy(), {"p": THREE}, 1, 1),
        (LabelPolicy(classes=("a", "b", "c")), {"p": THREE}, "b", 1),
        (LabelPolicy(), {"p": THREE, "c": np.asarray([0, 1, 1])}, {"c": 1}, 2),
        (LabelPolicy(kind="binary"), {"y": np.float32([[0.2], [0.9], [0.6]])}, 1, 2),
    ],
    ids=["inferred", "named", "class and scores", "binary"],
)
def test_outputs_mean_what_is_said_or_plain(
    log_with: Callable[..., LabelledLog],
    policy: LabelPolicy,
    outputs: dict[str, np.ndarray],
    label: object,
    right: int,
) -> None:
    """A class is an output, or the highest score, or a chance above a half."""
    specs: dict[str, TensorSpec] = {"p": scores_spec(3), "c": class_spec(), "y": number_spec()}
    log = log_with(*(specs[name] for name in outputs))
    named = log.log(outputs, policy=policy)
    for row in range(3):
        name, value = next(iter(label.items())) if isinstance(label, dict) else ("", label)
        log.label(named, value, row=row, output=name)
    figures = performance(log).versions[0].figures

    assert figures.accuracy is not None
    assert figures.accuracy.value == pytest.approx(right / 3)


def test_a_score_that_is_no_number_costs_its_row_only(
    log_with: Callable[..., LabelledLog],
) -> None:
    """Also where the class is an output of its own."""
    log = log_with(scores_spec(3), class_spec())
    scores = THREE.copy()
    scores[1, 2] = np.nan
    named = log.log({"p": scores, "c": np.asarray([0, 1, 2])})
    for row in range(3):
        log.label(named, row, row=row)
    figures = performance(log).versions[0].figures

    assert figures.rows == 2
    assert figures.log_loss is not None
    assert figures.log_loss.value == pytest.approx(-np.log([0.8, 0.7]).mean())
    assert sum(status(log).versions[0].problems.values()) >= 1


def test_versions_are_judged_by_their_own_rows(log_with: Callable[..., LabelledLog]) -> None:
    """Copies for a candidate have no label of their own, and count nowhere."""
    log = log_with(number_spec())
    named = [
        log.log({"y": np.float32([[value]])}, key=VersionKey("m", version))
        for version, value in ((1, 2.0), (2, 5.0))
    ]
    log.log({"y": np.float32([[9]])}, route="shadow")
    for each in named:
        log.label(each, 3)
    found = performance(log).versions

    assert [(one.version, one.rows) for one in found] == [(1, 1), (2, 1)]
    assert [one.figures.bias and one.figures.bias.value for one in found] == [-1.0, 2.0]


def test_what_could_mean_several_outputs_is_not_guessed(
    log_with: Callable[..., LabelledLog],
) -> None:
    """The version says what is missing; a label that names its output is read all the same."""
    log = log_with(number_spec("a"), number_spec("b"))
    named = log.log({"a": np.float32([[1]]), "b": np.float32([[2]])})
    log.label(named, 1)
    vague = performance(log)
    other = log.log({"a": np.float32([[1]]), "b": np.float32([[2]])}, key=VersionKey("m", 2))
    log.label(other, 4, output="b")
    clear = performance(log)

    assert "label_output" in vague.troubles["1"]
    assert [(one.version, one.output) for one in clear.versions] == [(2, "b")]


def test_labels_of_rows_that_a_request_had_not_are_only_counted(
    log_with: Callable[..., LabelledLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever posts a million of them for one prediction has nobody look at which of them hold."""
    log = log_with(scores_spec(3))
    named = log.log({"p": THREE})
    for row in range(8):
        log.label(named, 1, row=row)
    asked: list[CellKey] = []
    held = LabelTable.held

    def noted(table: LabelTable, key: CellKey, source: str | None = None) -> Held | None:
        asked.append(key)
        return held(table, key, source)

    monkeypatch.setattr(LabelTable, "held", noted)
    version = status(log).versions[0]
    assert version.labelled_rows == len(THREE)
    assert version.problems == {"labels of rows that the request had not": 8 - len(THREE)}
    assert {key.row for key in asked} == {0, 1, 2}
