"""What becomes of rows that were copied: sums by a reference, or a reference. For one thread."""

from math import prod
from typing import Final, Protocol

import numpy as np

from runtimes.contract import Array, TensorSpec
from serving.monitor.drift.columns import Role
from serving.monitor.drift.learning import Tensor
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.stream import RunningTotal
from serving.registry.contracts.data_contract import DataContract
from serving.registry.version import ServedVersion
from serving.worker.drift.binding import Binding, Slots, marked_missing

MAX_BYTES: Final = 64 << 20
"""Of rows that a reference is learnt from: large rows are fewer."""


_LEVEL_KINDS: Final = "Ob"


class Sink(Protocol):
    """Takes rows that were copied."""

    @property
    def slots(self) -> Slots:
        """What is copied of each row."""
        ...

    def take(self, values: list[Array], is_there: list[Array], at_s: float) -> None:
        """Take rows: for each slot its values and which rows have it."""
        ...


class Sums:
    """Adds rows up."""

    def __init__(
        self, profile: Profile, served: ServedVersion, contract: DataContract | None, epoch: str
    ) -> None:
        """Begin at zero.

        Raises:
            InvalidArgumentError: The version has not all tensors of the reference.
        """
        self.profile = profile
        self.total = RunningTotal(epoch)
        self._encoder = profile.encoder
        self._binding = Binding(profile, served, contract)

    @property
    def slots(self) -> Slots:
        """What is copied of each row."""
        return self._binding.slots

    def take(self, values: list[Array], is_there: list[Array], at_s: float) -> None:
        """Encode rows and add them up."""
        columns = self.profile.columns_of(self._binding.tensors(values, is_there))
        encoded = self._encoder.encode(columns)
        for block in self._encoder.blocks(encoded, self.profile.digest):
            self.total.add(block, at_s)


class Collected:
    """Keeps the first rows, whole, until there are enough to learn from."""

    def __init__(self, served: ServedVersion, wanted_rows: int) -> None:
        """Begin without rows; tensors whose rows have no fixed size are left out."""
        self._slots = Slots(served)
        self._named: list[tuple[str, Role, tuple[int, ...]]] = []
        for role, specs in ((Role.INPUT, served.inputs), (Role.OUTPUT, served.outputs)):
            for index, spec in enumerate(specs):
                shape = _row_shape(spec, served)
                if all(side > 0 for side in shape):
                    self._slots.add(role, index, prod(shape))
                    self._named.append((spec.name, role, shape))
        row_bytes = sum(max(slot.size_bytes, 64) for slot in self._slots.slots)
        self.wanted_rows = max(1, min(wanted_rows, MAX_BYTES // max(row_bytes, 1)))
        self._parts: list[tuple[list[Array], list[Array]]] = []
        self.rows = 0

    @property
    def slots(self) -> Slots:
        """What is copied of each row."""
        return self._slots

    @property
    def is_full(self) -> bool:
        """Whether there are enough rows."""
        return self.rows >= self.wanted_rows

    def take(self, values: list[Array], is_there: list[Array], at_s: float) -> None:
        """Keep rows."""
        del at_s
        if self.is_full:
            return
        self._parts.append((values, is_there))
        self.rows += len(is_there[0])

    def tensors(self) -> list[Tensor]:
        """Return what was kept, tensors that were never there left out."""
        found: list[Tensor] = []
        for place, (name, role, shape) in enumerate(self._named):
            array = np.concatenate([values[place] for values, _ in self._parts])
            there = np.concatenate([is_there[place] for _, is_there in self._parts])
            if there.any():
                is_text = array.dtype.kind in _LEVEL_KINDS
                whole = marked_missing(array, there, is_text=is_text)[: self.wanted_rows]
                values = whole.reshape(len(whole), *shape)
                found.append(Tensor(name=name, role=role, values=values))
        return found


def _row_shape(spec: TensorSpec, served: ServedVersion) -> tuple[int, ...]:
    return spec.shape[1:] if served.max_batch_rows else spec.shape
