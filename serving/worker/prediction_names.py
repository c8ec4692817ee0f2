"""Which answers of a version are named: those that will be kept.

A name is what a caller asks for later (`bascule reproduce`, labels), so what is not kept has none.
"""

from serving.predictions.ids import PredictionIds
from serving.worker.tap import EvenSampler


class PredictionNames:
    """Names a share of a version's answers: those that will be kept."""

    __slots__ = ("_ids", "_sampler", "skip")

    def __init__(self, ids: PredictionIds, share: float) -> None:
        """Choose this share of the answers."""
        self._ids = ids
        self._sampler = EvenSampler(share)
        self.skip = self._sampler.skipped()
        """So many answers have no name; who encodes one of them counts it down."""

    def make(self) -> str:
        """Return the next answer's name, when `skip` is 0."""
        self.skip = self._sampler.skipped()
        return self._ids.make()
