"""The controller's look at labels: what it tells, once, and what it counts for rollouts."""

from pathlib import Path

import numpy as np
import pytest

from runtimes.errors import InvalidArgumentError
from serving.clock import SystemClock
from serving.ids import VersionKey
from serving.monitor.labels.drop import DropState
from serving.monitor.labels.performance import Cut
from serving.monitor.sequential import Counted
from serving.predictions.labels.book import LabelBook
from serving.predictions.labels.joining import Wanted
from serving.predictions.reading import Filter
from serving.registry.announcing.outbox import read_events
from serving.registry.store import Registry
from serving.rollout.label_watch import LabelWatch
from tests.fakes.labelled_log import LabelledLog, scores_spec

ROWS = 8
FIRST, SECOND = VersionKey("m", 1), VersionKey("m", 2)


def answered(log: LabelledLog, key: VersionKey, count: int, *, wrong: bool) -> None:
    """Log requests of some rows each, and say that they were right or wrong."""
    scores = np.tile([0.8, 0.2], (ROWS, 1))
    for _ in range(count):
        named = log.log({"p": scores}, key=key)
        for row in range(ROWS):
            log.label(named, float(wrong), row=row)


def test_a_drop_is_told_once_and_requests_are_counted_once(tmp_path: Path) -> None:
    """Another watch on the same catalog tells nothing again."""
    log = LabelledLog(tmp_path / "log", [scores_spec(2)])
    answered(log, FIRST, 40, wrong=False)
    answered(log, FIRST, 30, wrong=True)
    since_s = log.now_s
    answered(log, FIRST, 3, wrong=False)
    answered(log, SECOND, 2, wrong=True)
    with Registry(tmp_path / "home") as registry:
        watches = [
            LabelWatch(LabelBook(str(log.folder)), registry, SystemClock(), 3600.0)
            for _ in range(2)
        ]
        unknown = watches[0].counts(SECOND, 1, since_s)
        for watch in (*watches, *watches):
            watch.look()
        with registry.database.reading() as connection:
            told = read_events(connection, model="m")
    found = watches[0].counts(SECOND, 1, since_s)

    assert unknown is None
    assert [(one.type, one.subject) for one in told] == [("dev.bascule.label.drop.v1", "m/1")]
    assert found is not None
    assert (found.candidate, found.live) == (Counted(2, 2), Counted(0, 3))
    assert found.live_ever == Counted(30, 73)
    assert [one.is_dropped for one in watches[0].summaries] == [True, False]


def test_the_reference_is_that_of_the_first_labels(tmp_path: Path) -> None:
    """Also when their predictions are gone, for another process, and for what commands say."""
    log = LabelledLog(tmp_path / "log", [scores_spec(2)])
    answered(log, FIRST, 40, wrong=False)
    with Registry(tmp_path / "home") as registry:
        LabelWatch(LabelBook(str(log.folder)), registry, SystemClock(), 3600.0).look()
        for segment in log.folder.glob("*.seg"):
            segment.unlink()
        later = LabelledLog(tmp_path / "log", [scores_spec(2)])
        later.now_ns = log.now_ns
        answered(later, FIRST, 45, wrong=True)
        watch = LabelWatch(LabelBook(str(log.folder)), registry, SystemClock(), 3600.0)
        watch.look()
    book, wanted = LabelBook(str(log.folder)), Wanted(predictions=Filter(model="m"))
    (judged,) = book.performance(wanted, Cut(), later.now_s).versions

    assert [one.is_dropped for one in watch.summaries] == [True]
    assert (judged.drop.state, judged.drop.reference_rows) == (DropState.DROPPED, 300)
    assert judged.drop.reference is not None
    assert judged.drop.reference.value == 0.0


def test_a_damaged_reference_is_told_of(tmp_path: Path) -> None:
    """With the file's name, and what to do."""
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "references.json").write_text("{")
    with pytest.raises(InvalidArgumentError, match=r"references\.json: the references of labels"):
        LabelBook(str(tmp_path)).references()
