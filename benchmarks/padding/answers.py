"""What became of calls: whether the embeddings are right, how long they took. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.load_tools import Measured
from benchmarks.loads import Array
from serving.cli.load.summary import quantile

TOLERANCE: Final = 1e-5
"""Of each number of an embedding, whose length is 1: batches are rounded otherwise than calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a call."""

    took_s: float
    embedding: Array | None = None
    """Shape (numbers,); None: there is none."""
    error: str = ""


def measured(answers: Sequence[Answer], right: Sequence[Array], took_s: float) -> Measured:
    """Return the figures of calls that took so long together.

    Args:
        answers: In the order of the calls.
        right: The embeddings that they should have.
        took_s: From the first call to the last answer.
    """
    times_s = sorted(one.took_s for one in answers)
    return Measured(
        requests_per_s=len(answers) / took_s,
        p50_s=quantile(times_s, 0.5),
        p99_s=quantile(times_s, 0.99),
        failures=_failures(answers, right),
        sent_count=len(answers),
    )


def _failures(answers: Sequence[Answer], right: Sequence[Array]) -> str:
    errors = [one.error for one in answers if one.embedding is None]
    wrong_count = sum(
        one.embedding is not None and not _is_near(one.embedding, other)
        for one, other in zip(answers, right, strict=True)
    )
    failures = [f"{len(errors)} calls failed, the first one: {errors[0]}"] if errors else []
    failures += [f"{wrong_count} answers are wrong"] if wrong_count else []
    return "; ".join(failures)


def _is_near(found: Array, right: Array) -> bool:
    return found.shape == right.shape and np.allclose(found, right, rtol=0, atol=TOLERANCE)
