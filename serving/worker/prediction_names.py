"""Which answers of a version are named: those that will be kept.

A name is what a caller asks for later (`bascule reproduce`, labels), so what is not kept has none.
"""

from serving.predictions.ids import PredictionIds
from serving.worker.tap import EvenSampler


class PredictionNames:
    """Names a share of a version's answers: those that will be kept.

    Whoever answers counts down by itself, which costs less than to ask::

        if names.skip:
            names.skip -= 1
        else:
            name = names.make()
    """

    __slots__ = ("_ids", "_sampler", "skip")

    def __init__(self, ids: PredictionIds, share: float) -> None:
        """Choose this share of the answers."""
        self._ids = ids
        self._sampler = EvenSampler(share)
        self.skip = self._sampler.skipped()
        """Answers to pass over before the next one that is named."""

    def make(self) -> str:
        """Name an answer, and choose the next one."""
        self.skip = self._sampler.skipped()
        return self._ids.make()
