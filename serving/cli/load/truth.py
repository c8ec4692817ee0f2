"""What each version answers to a question, to hold its answers against.

It is learnt by asking the version by its number, when the load begins or when the first answer of
a version comes; or it was told.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from runtimes.errors import BasculeError
from serving.cli.load.ledger import Outcome
from serving.cli.predict_http import Prediction
from serving.cli.predict_tensors import NamedTensor

Steps = tuple[tuple[NamedTensor, ...], ...]
"""The outputs of each step; of the only one where there is no sequence."""
Learn = Callable[[str], Awaitable[Steps]]

SHOWN_VALUES: Final = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a request, and what was wrong."""

    outcome: Outcome
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far numbers may be off: the same rows in another batch are rounded otherwise."""

    relative: float = 1e-4
    absolute: float = 1e-5


class Truth:
    """The right answers to one question."""

    def __init__(
        self,
        learn: Learn,
        told: Mapping[str, Steps] | None = None,
        tolerance: Tolerance = Tolerance(),
    ) -> None:
        """Know what was told, and nothing else yet.

        Args:
            learn: Asks one version; raises a `BasculeError` where it cannot.
            told: Version → its outputs.
            tolerance: Of floating-point numbers.
        """
        self._learn = learn
        self._known = dict(told or {})
        self._unknown: dict[str, str] = {}
        self._tolerance = tolerance
        self._turn = asyncio.Lock()

    async def know(self, version: str) -> bool:
        """Learn what a version answers, unless it is known; False where that cannot be."""
        async with self._turn:
            if version not in self._known:
                try:
                    self._known[version] = await self._learn(version)
                except BasculeError as error:
                    self._unknown[version] = error.message
        return version in self._known

    async def judged(self, reply: Prediction, step: int) -> Verdict:
        """Compare an answer with what its version answers at that step."""
        if reply.version not in self._known and not await self.know(reply.version):
            why = self._unknown[reply.version]
            return Verdict(
                Outcome.UNCHECKED, f"nothing to compare version {reply.version} with: {why}"
            )
        difference = self._difference(reply.outputs, self._known[reply.version][step])
        if not difference:
            return Verdict(Outcome.RIGHT)
        return Verdict(Outcome.WRONG, f"version {reply.version} says otherwise: {difference}")

    def _difference(self, got: Sequence[NamedTensor], want: Sequence[NamedTensor]) -> str:
        found = {tensor.name: tensor for tensor in got}
        for tensor in want:
            other = found.get(tensor.name)
            if other is None:
                return f"output '{tensor.name}' is missing"
            if other.array.shape != tensor.array.shape:
                return f"'{tensor.name}' has shape {list(other.array.shape)}"
            if not self._is_same(other, tensor):
                start = other.array.reshape(-1)[:SHOWN_VALUES].tolist()
                return f"'{tensor.name}' begins with {start}"
        return ""

    def _is_same(self, got: NamedTensor, want: NamedTensor) -> bool:
        if np.array_equal(got.array, want.array):
            return True
        if want.array.dtype.kind in "OSUbiu":
            return False
        found, wanted = (np.asarray(one.array, np.float64) for one in (got, want))
        limits = self._tolerance
        return np.allclose(
            found, wanted, rtol=limits.relative, atol=limits.absolute, equal_nan=True
        )
