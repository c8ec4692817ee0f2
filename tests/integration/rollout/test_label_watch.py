"""The controller's look at labels: what it tells, once, and what it counts for rollouts."""

from pathlib import Path

import numpy as np

from serving.clock import SystemClock
from serving.ids import VersionKey
from serving.monitor.sequential import Counted
from serving.predictions.labels.book import LabelBook
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
