"""Pure: what people decided about labels that look wrong."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from serving.predictions.labels.table import CellKey

Verdict = Literal["accept", "dismiss"]
"""The label is wrong: it does not count until another one is posted. Or: it is right."""


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """One decision; it is about one label, and says nothing of a label that is posted later."""

    model: str
    prediction_id: str
    row: int
    output: str
    given: str
    """The label that was looked at."""
    verdict: Verdict
    who: str
    reason: str
    at_ns: int


class Reviews:
    """The newest decision about each label."""

    def __init__(self, reviews: Iterable[Review]) -> None:
        """Take what was decided, in any order."""
        self._newest: dict[tuple[CellKey, str], Review] = {}
        for review in reviews:
            key = CellKey(review.prediction_id, review.row, review.output), review.given
            before = self._newest.get(key)
            if before is None or before.at_ns <= review.at_ns:
                self._newest[key] = review

    def of(self, key: CellKey, given: str) -> Review | None:
        """Return what was decided about a label; None: nothing yet."""
        return self._newest.get((key, given))

    def __len__(self) -> int:
        """How many labels were looked at."""
        return len(self._newest)
