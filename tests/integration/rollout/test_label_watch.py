"""The controller's look at labels: what it tells, once, and what it counts for rollouts."""

import asyncio
import gc
import json
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
from serving.predictions.labels.entries import Cell
from serving.predictions.labels.joining import Wanted
from serving.predictions.reading import Filter
from serving.registry.announcing.outbox import read_events
from serving.registry.store import Registry
from serving.rollout import label_watch
from serving.rollout.label_watch import LabelWatch
from tests.fakes.labelled_log import SECOND_NS, LabelledLog, class_spec, scores_spec

ROWS = 8
FIRST, SECOND = VersionKey("m", 1), VersionKey("m", 2)


SCORES = np.tile([0.8, 0.2], (ROWS, 1))


def answered(
    log: LabelledLog, key: VersionKey, count: int, *, wrong: bool, digest: str = "d"
) -> None:
    """Log requests of some rows each, and say that they were right or wrong."""
    for _ in range(count):
        said(log, log.log({"p": SCORES}, key=key, digest=digest), wrong=wrong)


def said(log: LabelledLog, named: str, *, wrong: bool, rows: int = ROWS) -> None:
    """Label every row of a request: the first ones may be wrong, all others are right."""
    cells = [Cell(named, row, "", float(wrong and row < rows), "", 0, 1.0) for row in range(ROWS)]
    log.now_ns += SECOND_NS
    log.store.add("m", None, cells)


def watch_of(log: LabelledLog, registry: Registry) -> LabelWatch:
    """A controller's watch that has seen nothing yet."""
    return LabelWatch(LabelBook(str(log.folder)), registry, SystemClock(), 3600.0)


def test_labels_of_predictions_that_are_no_longer_new_ring_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them come when hundreds of newer requests have been answered, without any label."""
    monkeypatch.setattr(label_watch, "MOST_PREDICTIONS", 80)
    log = LabelledLog(tmp_path / "log", [scores_spec(2)])
    asked = [log.log({"p": SCORES}) for _ in range(70)]
    for _ in range(100):
        log.log({"p": SCORES})
    for at, named in enumerate(asked):
        said(log, named, wrong=at >= 40)
    with Registry(tmp_path / "home") as registry:
        watch = watch_of(log, registry)
        watch.look()
        found = watch.counts(FIRST, None, 0.0)

    assert [(one.labelled_rows, one.is_dropped) for one in watch.summaries] == [(70 * ROWS, True)]
    assert found is not None
    assert found.candidate == Counted(30, 70)


def test_labels_all_over_the_log_are_found_look_by_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No look reads it whole, none is lost, and nothing is said of a part of the first ones."""
    monkeypatch.setattr(label_watch, "MOST_PREDICTIONS", 80)
    monkeypatch.setattr(label_watch, "MOST_LATE_BYTES", 1)
    log = LabelledLog(tmp_path / "log", [scores_spec(2)])
    asked = [log.log({"p": SCORES}) for _ in range(70)]
    log.now_ns += 600 * SECOND_NS
    for _ in range(80):
        log.log({"p": SCORES})
    for at, named in enumerate(asked):
        said(log, named, wrong=at >= 40)
    seen: list[tuple[int, bool]] = []
    with Registry(tmp_path / "home") as registry:
        watch = watch_of(log, registry)
        for _ in range(71):
            watch.look()
            seen += [(one.labelled_rows // ROWS, one.is_dropped) for one in watch.summaries]
        found = watch.counts(FIRST, None, 0.0)

    assert seen[:2] == [(1, False), (2, False)]
    assert seen[68:] == [(69, False), (70, True), (70, True)]
    assert found is not None
    assert found.candidate == Counted(30, 70)


def test_other_files_under_the_same_number_are_judged_by_their_own_labels(tmp_path: Path) -> None:
    """What replaced a good model was never better than it is; its own drop is told, too."""
    log = LabelledLog(tmp_path / "log", [scores_spec(2)])
    answered(log, FIRST, 40, wrong=False)
    answered(log, FIRST, 30, wrong=True)
    with Registry(tmp_path / "home") as registry:
        watch = watch_of(log, registry)
        watch.look()
        first = [one.is_dropped for one in watch.summaries]
        answered(log, FIRST, 10, wrong=True, digest="e")
        answered(log, FIRST, 40, wrong=False, digest="e")
        watch.look()
        second = [(one.labelled_rows, one.is_dropped) for one in watch.summaries]
        counted = watch.counts(FIRST, 1, 0.0)
        answered(log, FIRST, 60, wrong=True, digest="e")
        watch.look()
        with registry.database.reading() as connection:
            told = [json.loads(one.data)["digest"] for one in read_events(connection, model="m")]

    assert (first, second) == ([True], [(50 * ROWS, False)])
    assert counted is not None
    assert counted.live_ever == Counted(10, 50)
    assert told == ["d", "e"]


def test_each_output_has_a_drop_of_its_own(tmp_path: Path) -> None:
    """That one was told keeps nobody from hearing of the other."""
    log = LabelledLog(tmp_path / "log", [class_spec("a"), class_spec("b")])
    for at in range(70):
        named = log.log({"a": np.zeros(ROWS, np.int64), "b": np.zeros(ROWS, np.int64)})
        cells = [
            Cell(named, row, output, float(at >= 40), "", 0, 1.0)
            for row in range(ROWS)
            for output in "ab"
        ]
        log.store.add("m", None, cells)
    with Registry(tmp_path / "home") as registry:
        for _ in range(2):
            watch_of(log, registry).look()
        with registry.database.reading() as connection:
            told = [json.loads(one.data)["output"] for one in read_events(connection, model="m")]

    assert told == ["a", "b"]


def test_versions_that_had_labels_last_are_remembered(tmp_path: Path) -> None:
    """What is remembered of versions does not grow for ever."""
    log = LabelledLog(tmp_path / "log", [scores_spec(2)])
    for version in range(1, 11):
        answered(log, VersionKey("m", version), 1, wrong=True)
    with Registry(tmp_path / "home") as registry:
        watch = watch_of(log, registry)
        watch.look()
    counts = [watch.counts(VersionKey("m", version), None, 0.0) for version in range(1, 11)]

    assert [one.candidate.all_count for one in counts if one] == [0, 0, 1, 1, 1, 1, 1, 1, 1, 1]


def test_a_reference_that_cannot_be_kept_is_remembered(tmp_path: Path) -> None:
    """The watch goes on, and keeps it as soon as it can."""
    log = LabelledLog(tmp_path / "log", [scores_spec(2)])
    blocked = log.folder / "labels" / "references.json.new"
    blocked.mkdir(parents=True)
    answered(log, FIRST, 40, wrong=False)
    with Registry(tmp_path / "home") as registry:
        watch = watch_of(log, registry)
        watch.look()
        for segment in log.folder.glob("*.seg"):
            segment.unlink()
        blocked.rmdir()
        answered(log, FIRST, 45, wrong=True)
        watch.look()
    (kept,) = LabelBook(str(log.folder)).kept.references().values()

    assert [one.is_dropped for one in watch.summaries] == [True]
    assert (kept.row_count, kept.bad_count) == (300, 0)


def test_a_reference_is_kept_where_every_node_reads_it(tmp_path: Path) -> None:
    """At the log's URL; this node has no folder of labels."""
    log = LabelledLog(tmp_path / "log", [scores_spec(2)])
    answered(log, FIRST, 40, wrong=False)
    url = log.folder.as_uri()
    with Registry(tmp_path / "home") as registry:
        book = LabelBook(str(tmp_path / "none"), url)
        LabelWatch(book, registry, SystemClock(), 3600.0).look()

    assert [one.row_count for one in LabelBook(url).kept.references().values()] == [300]
    assert not (tmp_path / "none").exists()


def test_rows_of_one_post_and_of_late_predictions_are_judged(tmp_path: Path) -> None:
    """One is a row of the reference only if it was among the first 300."""
    log = LabelledLog(tmp_path / "log", [scores_spec(2)])
    early = log.name()
    asked = [log.log({"p": SCORES}) for _ in range(75)]
    said(log, early, wrong=True)
    cells = [Cell(named, row, "", 0.0, "", 0, 1.0) for named in asked for row in range(ROWS)]
    log.store.add("m", None, cells)
    book, wanted = LabelBook(str(log.folder)), Wanted(predictions=Filter(model="m"))
    with Registry(tmp_path / "home") as registry:
        watch_of(log, registry).look()
    at_once = book.performance(wanted, Cut(), log.now_s).versions[0].drop.later_rows
    log.log({"p": SCORES}, prediction_id=early)
    later = book.performance(wanted, Cut(), log.now_s).versions[0].drop

    assert (at_once, later.later_rows) == (300, 300 + ROWS)
    assert later.reference_rows == 300


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


def test_a_drop_that_no_look_sees_whole_rings(tmp_path: Path) -> None:
    """Each look reads 32 labels, then their predictions go, and another controller starts."""
    log = LabelledLog(tmp_path / "log", [scores_spec(2)])
    answered(log, FIRST, 40, wrong=False)
    rung: list[bool] = []
    with Registry(tmp_path / "home") as registry:
        for _ in range(12):
            watch = watch_of(log, registry)
            watch.look()
            rung += [one.is_dropped for one in watch.summaries]
            for segment in log.folder.glob("*.seg"):
                segment.unlink()
            for at in range(4):
                said(log, log.log({"p": SCORES}), wrong=at % 2 == 0, rows=1)
    book, wanted = LabelBook(str(log.folder)), Wanted(predictions=Filter(model="m"))
    (told,) = book.performance(wanted, Cut(), log.now_s).versions

    assert (rung[0], rung[-1]) == (False, True)
    assert (told.labelled_rows, told.drop.state) == (4 * ROWS, DropState.DROPPED)


def test_what_labels_have_shown_is_kept_as_soon_as_it_can_be(tmp_path: Path) -> None:
    """Until then the watch remembers it."""
    log = LabelledLog(tmp_path / "log", [scores_spec(2)])
    blocked = log.folder / "labels" / "judged.json.new"
    blocked.mkdir(parents=True)
    answered(log, FIRST, 45, wrong=False)
    book = LabelBook(str(log.folder))
    with Registry(tmp_path / "home") as registry:
        watch = watch_of(log, registry)
        watch.look()
        unkept = book.kept.findings()
        blocked.rmdir()
        answered(log, FIRST, 1, wrong=False)
        watch.look()
    (kept,) = book.kept.findings().values()

    assert (unkept, kept.evidence.window_count) == ({}, 2)


def test_a_damaged_reference_is_told_of(tmp_path: Path) -> None:
    """With the file's name, and what to do."""
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "references.json").write_text("{")
    with pytest.raises(InvalidArgumentError, match=r"references\.json: the references of labels"):
        LabelBook(str(tmp_path)).kept.references()


def test_versions_are_forgotten_by_the_age_of_their_answers(tmp_path: Path) -> None:
    """The live version may have the lowest number of all."""
    log = LabelledLog(tmp_path / "log", [scores_spec(2)])
    for number in range(2, label_watch.MOST_VERSIONS + 2):
        answered(log, VersionKey("m", number), 1, wrong=True)
    answered(log, FIRST, 3, wrong=True)
    with Registry(tmp_path / "home") as registry:
        watch = watch_of(log, registry)
        watch.look()
        found = watch.counts(VersionKey("m", label_watch.MOST_VERSIONS + 1), 1, 0.0)

    assert found is not None
    assert (found.candidate, found.live) == (Counted(1, 1), Counted(3, 3))


def test_a_reference_of_another_form_judges_on(tmp_path: Path) -> None:
    """It names no rows: what it has learnt is another version's."""
    (tmp_path / "labels").mkdir()
    kept = '{"m:1:": {"row_count": 300, "bad_count": 7, "posted_until_s": 1.0}}'
    (tmp_path / "labels" / "references.json").write_text(kept)
    assert LabelBook(str(tmp_path)).kept.references().keys() == {"m:1:"}


def test_a_look_keeps_nobody_waiting_for_the_garbage_collector(tmp_path: Path) -> None:
    """It makes millions of objects, and the process stands still while they are looked through."""
    seen: list[bool] = []

    class Noting(LabelWatch):
        def look(self) -> None:
            seen.append(gc.isenabled())
            loop.call_soon_threadsafe(looked.set)

    async def until_looked(watch: LabelWatch) -> None:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(watch.run())
            await looked.wait()
            running.cancel()

    log = LabelledLog(tmp_path / "log", [scores_spec(2)])
    with Registry(tmp_path / "home") as registry, asyncio.Runner() as runner:
        loop, looked = runner.get_loop(), asyncio.Event()
        book = LabelBook(str(log.folder))
        runner.run(until_looked(Noting(book, registry, SystemClock(), 3600.0)))
    assert seen == [False]
