"""Calls of many lengths, as a service of texts gets them, and which of them fit together. Pure.

Lengths in tokens are log-normal, cut to 8..256, as those of sentences and paragraphs are: half have
up to 40 tokens, one in a hundred has more than 200.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from math import log
from typing import Any, Final

import numpy as np

Ids = np.ndarray[Any, np.dtype[np.int64]]
"""A call's token ids. Shape (1, tokens)."""
Feed = dict[str, Ids]
"""Input → its tensor: ids, and a mask that is 0 where there is padding."""

SEED: Final = 11
LEAST_TOKENS: Final = 8
MOST_TOKENS: Final = 256
MEDIAN_TOKENS: Final = 40
SPREAD: Final = 0.7
"""Standard deviation of the lengths' logarithm."""
BUCKETS: Final = (16, 32, 64, 128, 256)
FIRST_ID: Final = 101
LAST_ID: Final = 102
WORDS: Final = (1_000, 30_522)
"""Ids of the vocabulary's words: from, to."""


def texts(count: int) -> list[Ids]:
    """Make calls up, the same ones every time: the marks at both ends, words between them."""
    rng = np.random.default_rng(SEED)
    lengths = np.rint(rng.lognormal(log(MEDIAN_TOKENS), SPREAD, count))
    made = []
    for length in lengths.clip(LEAST_TOKENS, MOST_TOKENS).astype(int).tolist():
        ids = rng.integers(*WORDS, (1, length), np.int64)
        ids[0, 0], ids[0, -1] = FIRST_ID, LAST_ID
        made.append(ids)
    return made


def feed_of(calls: Sequence[Ids]) -> Feed:
    """Put calls one below the other, padded with 0 to the longest of them."""
    shape = (len(calls), max(ids.shape[1] for ids in calls))
    feed = {name: np.zeros(shape, np.int64) for name in ("input_ids", "attention_mask")}
    for row, ids in enumerate(calls):
        feed["input_ids"][row, : ids.shape[1]] = ids
        feed["attention_mask"][row, : ids.shape[1]] = 1
    return feed


def windows(
    lengths: Sequence[int], size: int, buckets: Sequence[int] = BUCKETS
) -> Iterator[list[list[int]]]:
    """Take calls in turn, so many at a time, and sort each such window into batches.

    Args:
        lengths: Of the calls, in tokens; at most the largest bucket.
        size: Of a window, in calls.
        buckets: A batch has the calls that lie under the same one.

    Yields:
        A window: the batches, in the order of their first calls, with the calls' places.
    """
    for begin in range(0, len(lengths), size):
        batches: dict[int, list[int]] = {}
        for place in range(begin, min(begin + size, len(lengths))):
            batches.setdefault(bisect_left(buckets, lengths[place]), []).append(place)
        yield list(batches.values())


def padded_share(own: Sequence[int], run: Sequence[int]) -> float:
    """Return the share of padding among the tokens that were run; 0 of none.

    Args:
        own: The calls' lengths.
        run: The lengths to which they were padded.
    """
    return 1 - sum(own) / sum(run) if run else 0.0
