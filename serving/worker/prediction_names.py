"""Which answers of a version are named: those that will be kept.

A name is what a caller asks for later (`bascule reproduce`, labels), so what is not kept has none.
"""

from serving.predictions.ids import PredictionIds
from serving.worker.tap import EvenSampler


class PredictionNames:
    """Names a share of a version's answers: those that will be kept."""

    __slots__ = ("_ids", "_sampler", "_skip")

    def __init__(self, ids: PredictionIds, share: float) -> None:
        """Choose this share of the answers."""
        self._ids = ids
        self._sampler = EvenSampler(share)
        self._skip = self._sampler.skipped()

    def make(self) -> str:
        """Return the next answer's name; empty: it is not kept."""
        if self._skip:
            self._skip -= 1
            return ""
        self._skip = self._sampler.skipped()
        return self._ids.make()
