"""Padding measured: which calls run together, what is padding, what an answer must be."""

from typing import Any

import numpy as np
import pytest

from benchmarks.load_tools import Measured
from benchmarks.padding.answers import TOLERANCE, Answer, measured
from benchmarks.padding.bare import run_bare
from benchmarks.padding.calls import (
    BUCKETS,
    LEAST_TOKENS,
    MOST_TOKENS,
    Ids,
    feed_of,
    padded_share,
    texts,
    windows,
)
from benchmarks.padding.page import Turn, page, ratios
from benchmarks.report import Sample

UNIT = np.array([0.6, 0.8], np.float32)


class Mean:
    """An engine whose embedding is the mean of the ids that are not masked."""

    def run(self, _: object, feed: dict[str, Ids]) -> list[np.ndarray[Any, Any]]:
        """Return one number for each row."""
        ids, mask = feed["input_ids"], feed["attention_mask"]
        return [(ids * mask).sum(1, keepdims=True) / mask.sum(1, keepdims=True)]


def ids_of(*tokens: int) -> Ids:
    """A call."""
    return np.array([tokens], np.int64)


def turn(system: str, number: int, per_s: float, failures: str = "") -> Turn:
    """One round of a system: 100 calls, for which it was 2 s on CPUs."""
    found = Measured(requests_per_s=per_s, p50_s=0.1, p99_s=0.2, failures=failures, sent_count=100)
    sample = Sample(system=system, load="load", round=number, measured=found, cpu_s={"worker": 2.0})
    return Turn(sample=sample, batch_rows=4.5, padded_share=0.125)


def test_calls_are_the_same_every_time_and_of_many_lengths() -> None:
    """Within the bounds, half of them short, some as long as the largest bucket allows."""
    lengths = [ids.shape[1] for ids in texts(2000)]

    assert all(np.array_equal(one, other) for one, other in zip(texts(9), texts(9), strict=True))
    assert (min(lengths), max(lengths)) == (LEAST_TOKENS, MOST_TOKENS)
    assert np.median(lengths) == pytest.approx(40, abs=2)
    assert max(lengths) <= BUCKETS[-1]


def test_a_batch_is_padded_to_its_longest_call() -> None:
    """Padding is 0, and so is the mask there."""
    feed = feed_of([ids_of(5, 6, 7), ids_of(8)])

    assert feed["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert feed["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_a_window_is_sorted_by_bucket() -> None:
    """Calls under the same bucket run together, those of other windows never with them."""
    found = list(windows([4, 9, 8, 16, 3], 4, (8, 16)))

    assert found == [[[0, 2], [1, 3]], [[4]]]


def test_padding_is_a_share_of_what_is_run() -> None:
    """Calls of 2 and 4 tokens that are run as two of 4 are a quarter padding."""
    assert padded_share([2, 4], [4, 4]) == pytest.approx(0.25)
    assert padded_share([], []) == 0


def test_the_engine_alone_gives_the_same_answers_one_by_one_and_by_bucket() -> None:
    """In the order of the calls, whatever ran together."""
    calls = [ids_of(*range(1, 1 + length)) for length in (20, 9, 30, 12)]

    alone, together = run_bare(Mean(), calls, 1), run_bare(Mean(), calls, 4)

    assert [one.tolist() for one in alone.embeddings] == [[10.5], [5.0], [15.5], [6.5]]
    assert [one.tolist() for one in together.embeddings] == [[10.5], [5.0], [15.5], [6.5]]
    assert (alone.batch_rows, together.batch_rows) == (1, 2)
    assert alone.padded_share == 0
    assert together.padded_share == pytest.approx(13 / 84)
    assert len(together.times_s) == 4


def test_right_answers_are_no_failure() -> None:
    """Rounding is within the tolerance."""
    near = Answer(took_s=0.2, embedding=UNIT + np.float32(TOLERANCE / 2))

    found = measured([Answer(took_s=0.1, embedding=UNIT), near], [UNIT, UNIT], 0.5)

    assert found.failures == ""
    assert (found.requests_per_s, found.sent_count) == (4, 2)
    assert (found.p50_s, found.p99_s) == (0.2, 0.2)


def test_wrong_answers_and_missing_ones_are_told() -> None:
    """A figure of what failed is none."""
    answers = [
        Answer(took_s=0.1, embedding=UNIT + np.float32(1e-3)),
        Answer(took_s=0.1, embedding=UNIT[:1]),
        Answer(took_s=0.1, error="queue full"),
    ]

    found = measured(answers, [UNIT] * 3, 1.0)

    assert found.failures == "1 calls failed, the first one: queue full; 2 answers are wrong"


def test_the_page_holds_systems_against_each_other_within_rounds() -> None:
    """A machine that slows down between rounds changes nothing."""
    turns = [
        *(turn("padded", 1, 30), turn("plain", 1, 20)),
        *(turn("plain", 2, 2), turn("padded", 2, 5)),
        turn("padded", 3, 7),
    ]

    text = page("Title", ["the machine"], turns, served=["padded", "plain"], others=["plain"])

    assert ratios(turns, "padded", "plain") == [1.5, 2.5]
    assert "| padded | 7.0 | 5.0..30.0 | 100 | 200 | 20.0 | 4.5 | 12.5% |" in text
    assert "| padded | plain | 2.00 | 1.50..2.50 |" in text
    assert "| plain | plain |" not in text
    assert "FAILED" not in text


def test_the_page_tells_what_failed() -> None:
    """Beside the system's name, and in words."""
    text = page("Title", [], [turn("padded", 1, 30, "2 answers are wrong")], served=[], others=[])

    assert "| padded **FAILED** |" in text
    assert "* FAILED: padded: 2 answers are wrong" in text
