"""Older predictions with labels are found little by little: each segment is read once."""

import os
from pathlib import Path

import numpy as np

from serving.predictions.labels.late import LateAnswers
from serving.predictions.reading import Filter, PredictionReader
from tests.fakes.labelled_log import LabelledLog, scores_spec

SCORES = np.asarray([[0.8, 0.2]])
OF_MODEL = Filter(model="m")


def logged(folder: Path, count: int) -> list[str]:
    """Log requests, each in a segment of its own, a minute and more apart."""
    log = LabelledLog(folder, [scores_spec(2)])
    named = []
    for _ in range(count):
        log.now_ns += 600 * 10**9
        named.append(log.log({"p": SCORES}))
        (segment,) = folder.glob(f"{log.now_ns // 1_000_000:013d}-*")
        os.utime(segment, ns=(log.now_ns, log.now_ns))
    return named


def found(late: LateAnswers, folder: Path, ids: list[str], most: int = 100) -> list[str]:
    """Which are known after another look."""
    known = late.look(PredictionReader(str(folder)), ids, OF_MODEL, most)
    return [one.head.id for one in known]


def test_a_look_reads_its_part_and_the_next_ones_the_rest(tmp_path: Path) -> None:
    """What was found stays, though its segment goes, as long as it has a label."""
    ids = logged(tmp_path, 5)
    late = LateAnswers(1)
    looks = [(found(late, tmp_path, ids), late.is_behind) for _ in range(5)]
    for segment in tmp_path.glob("*.seg"):
        segment.unlink()

    assert [len(known) for known, _ in looks] == [1, 2, 3, 4, 5]
    assert [is_behind for _, is_behind in looks] == [True] * 4 + [False]
    assert found(late, tmp_path, ids) == ids[::-1]
    assert found(late, tmp_path, ids[:2]) == ids[1::-1]


def test_a_label_that_comes_later_has_only_its_own_segment_read(tmp_path: Path) -> None:
    """Others were looked through; without a bound all are read at once."""
    ids = logged(tmp_path, 5)
    late, whole = LateAnswers(1), LateAnswers()
    for _ in range(4):
        found(late, tmp_path, ids[1:])
    known = found(late, tmp_path, ids)

    assert (known, late.is_behind) == (ids[::-1], False)
    assert found(whole, tmp_path, ids) == known


def test_a_segment_that_is_written_all_the_time_keeps_none_waiting(tmp_path: Path) -> None:
    """An id that is nowhere has it looked through again when it was changed, after the others."""
    ids = logged(tmp_path, 3)
    newest = max(tmp_path.glob("*.seg"))
    nowhere = f"{ids[-1][:-1]}{'0' if ids[-1][-1] == '1' else '1'}"
    late = LateAnswers(1)
    counts: list[int] = []
    for number in range(1, 5):
        at_ns = newest.stat().st_mtime_ns + number * 10**9
        os.utime(newest, ns=(at_ns, at_ns))
        counts.append(len(found(late, tmp_path, [*ids, nowhere])))

    assert counts == [1, 2, 3, 3]


def test_who_has_found_enough_is_not_behind(tmp_path: Path) -> None:
    """Labels may come faster than a log can be read: the newest predictions are found first."""
    ids = logged(tmp_path, 4)
    late = LateAnswers(1)
    looks = [(found(late, tmp_path, ids, most=2), late.is_behind) for _ in range(2)]

    assert looks == [([ids[3]], True), ([ids[3], ids[2]], False)]


def test_a_segment_at_a_url_ends_when_its_store_says(tmp_path: Path) -> None:
    """Otherwise any label would have all that is older looked through."""
    logged(tmp_path, 2)
    local, at_url = PredictionReader(str(tmp_path)), PredictionReader(tmp_path.as_uri())

    assert [one.time_ms for one in at_url.segments()] == [one.time_ms for one in local.segments()]
    assert all(one.changed_ms for one in at_url.segments())


def test_those_whose_labels_were_posted_last_are_kept(tmp_path: Path) -> None:
    """Whatever the order of the predictions is."""
    ids = logged(tmp_path, 4)
    late = LateAnswers()

    assert found(late, tmp_path, [ids[3], ids[0], ids[2], ids[1]], most=2) == [ids[2], ids[1]]
    assert found(late, tmp_path, [ids[3], ids[0], ids[2], ids[1]], most=2) == [ids[2], ids[1]]
