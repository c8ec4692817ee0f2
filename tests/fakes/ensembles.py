"""Ensembles for tests: their steps, and models of sums that answer when they are told."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import BasculeError
from serving.monitor.statistics import Phases
from serving.registry.ensemble import LATEST, EnsembleStep, TensorLink
from serving.registry.version import ServedVersion
from serving.worker.queued import QueuedCall


def step(
    model: str, inputs: dict[str, str], outputs: dict[str, str], version: int = LATEST
) -> EnsembleStep:
    """A step; the maps are from the model's names to the ensemble's, as in a configuration."""
    return EnsembleStep(
        model=model,
        version=version,
        inputs=tuple(TensorLink(own=own, shared=shared) for own, shared in inputs.items()),
        outputs=tuple(TensorLink(own=own, shared=shared) for own, shared in outputs.items()),
    )


def tensor(
    name: str, *dims: int, datatype: Datatype = Datatype.FP32, optional: bool = False
) -> TensorSpec:
    """A tensor's description, (-1, 1) where nothing else is said."""
    return TensorSpec(name=name, datatype=datatype, shape=dims or (-1, 1), optional=optional)


def served(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], max_batch_rows: int = 8
) -> ServedVersion:
    """What a worker says of a loaded version."""
    return ServedVersion(
        platform="test",
        backend="test",
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        max_batch_rows=max_batch_rows,
        device="cpu",
        threads=1,
        load_s=0.0,
        run_s=0.0,
    )


class SumIntake:
    """y = 1 + the sum of all inputs; calls are answered by hand, in any order."""

    phases = Phases(1, 2, 3, 4)

    def __init__(self) -> None:
        self.waiting: list[QueuedCall] = []
        self.cancelled: list[QueuedCall] = []
        self.refusal: BasculeError | None = None

    @property
    def queued_count(self) -> int:
        """Calls that wait."""
        return len(self.waiting)

    @property
    def queued_rows(self) -> int:
        """Rows that wait."""
        return sum(item.rows for item in self.waiting)

    def submit(self, item: QueuedCall) -> None:
        """Let a call wait, or refuse it."""
        if self.refusal is not None:
            raise self.refusal
        self.waiting.append(item)

    def cancel(self, item: QueuedCall) -> None:
        """Forget a call."""
        item.is_gone = True
        self.cancelled.append(item)
        if item in self.waiting:
            self.waiting.remove(item)

    def phases_of(self, submitted_ns: int, now_ns: int) -> Phases:  # noqa: ARG002  the port's
        """Say the same of every call."""
        return self.phases

    async def idle(self) -> None:
        """Nobody waits for it here."""

    def close(self) -> None:
        """Nothing is held."""

    def answer(self, place: int = 0) -> None:
        """Answer one of the waiting calls."""
        item = self.waiting.pop(place)
        item.finish([_sum(item)])

    def fail(self, error: BasculeError) -> None:
        """Fail the oldest waiting call."""
        self.waiting.pop(0).fail(error)


def _sum(item: QueuedCall) -> Any:  # noqa: ANN401  an array
    shape = (item.rows, 1)
    given = [np.frombuffer(raw, np.float32).reshape(shape) for raw in item.call.tensors]
    total: Any = np.ones(shape, np.float32)
    for each in given:
        total = total + each
    return total
