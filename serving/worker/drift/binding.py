"""Where the tensors of a reference are found in a version's calls and answers. Pure.

A tensor of the reference is an input or an output of that name; else a feature of the data contract
(a column of an input); else, if the model has one matrix and the reference as many tensors, they
are its columns in their order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError
from serving.monitor.drift.columns import Role
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.reduction import Kind, Reduction
from serving.registry.contracts.data_contract import DataContract
from serving.registry.version import ServedVersion
from serving.worker.drift.ring import RowRing, Slot

_TEXTS = frozenset({Kind.LEVELS, Kind.TEXT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One tensor of the version that is copied for each row."""

    role: Role
    index: int
    """Among the version's inputs, or its outputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Where a tensor of the reference is: a copied tensor, or one element of it."""

    slot: int
    element: int | None = None


class Slots:
    """What is copied of each row."""

    def __init__(self, served: ServedVersion) -> None:
        """Begin with nothing."""
        self._served = served
        self.bound: list[Bound] = []
        self.slots: list[Slot] = []

    def add(self, role: Role, index: int, size: int | None) -> int:
        """Return where a tensor is copied to; a size of None: as the version declares it."""
        bound = Bound(role=role, index=index)
        if bound in self.bound:
            return self.bound.index(bound)
        specs = self._served.outputs if role is Role.OUTPUT else self._served.inputs
        spec = specs[index]
        count = _row_size(spec, self._served) if size is None else size
        is_text = spec.datatype is Datatype.BYTES
        dtype = np.dtype(object) if is_text else np.dtype(DTYPES[spec.datatype])
        self.bound.append(bound)
        self.slots.append(Slot(dtype=dtype, count=count))
        return len(self.slots) - 1

    def ring(self) -> RowRing:
        """Make the memory for rows on their way."""
        return RowRing(self.slots)


class Binding:
    """How copied rows become the reference's tensors."""

    def __init__(
        self, profile: Profile, served: ServedVersion, contract: DataContract | None
    ) -> None:
        """Look for every tensor of the reference.

        Raises:
            InvalidArgumentError: The version has not all of them.
        """
        self.slots = Slots(served)
        self._served = served
        self._contract = contract
        self._reductions = tuple(profile.reductions)
        self._sources = self._find()

    def tensors(self, values: Sequence[Array], is_there: Sequence[Array]) -> dict[str, Array]:
        """Return rows that were copied as the reference's tensors. Shape (rows, elements)."""
        found: dict[str, Array] = {}
        for reduction, source in zip(self._reductions, self._sources, strict=True):
            array = values[source.slot]
            if source.element is not None:
                array = array[:, source.element : source.element + 1]
            found[reduction.tensor] = marked_missing(
                array, is_there[source.slot], is_text=reduction.kind in _TEXTS
            )
        return found

    def _find(self) -> list[_Source]:
        served = self._served
        inputs = {spec.name: place for place, spec in enumerate(served.inputs)}
        outputs = {spec.name: place for place, spec in enumerate(served.outputs)}
        features = self._features()
        sources: list[_Source | None] = []
        for reduction in self._reductions:
            name, size = reduction.tensor, prod(reduction.shape)
            by_name = outputs if reduction.role is Role.OUTPUT else inputs
            if name in by_name:
                sources.append(_Source(slot=self.slots.add(reduction.role, by_name[name], size)))
            elif name in features:
                tensor, column = features[name]
                slot = self.slots.add(Role.INPUT, inputs[tensor], None)
                sources.append(_Source(slot=slot, element=column))
            else:
                sources.append(None)
        return self._completed(sources)

    def _completed(self, sources: Sequence[_Source | None]) -> list[_Source]:
        """Take what was not found for the columns of the one matrix, if there are as many."""
        missing = [place for place, source in enumerate(sources) if source is None]
        if missing and not self._is_matrix(missing):
            raise InvalidArgumentError(self._refusal(self._reductions[missing[0]]))
        columns = {place: column for column, place in enumerate(missing)}
        slot = self.slots.add(Role.INPUT, 0, None) if missing else 0
        return [
            _Source(slot=slot, element=columns[place]) if source is None else source
            for place, source in enumerate(sources)
        ]

    def _is_matrix(self, missing: Sequence[int]) -> bool:
        served = self._served
        lacking = [self._reductions[place] for place in missing]
        are_scalars = all(r.role is Role.INPUT and prod(r.shape) == 1 for r in lacking)
        if len(served.inputs) != 1 or not are_scalars:
            return False
        return _row_size(served.inputs[0], served) == len(missing)

    def _features(self) -> Mapping[str, tuple[str, int]]:
        watched = () if self._contract is None else self._contract.inputs
        known = {spec.name for spec in self._served.inputs}
        return {
            one.name: (one.tensor, one.column)
            for one in watched
            if one.column is not None and one.tensor in known
        }

    def _refusal(self, reduction: Reduction) -> str:
        served = self._served
        specs = served.outputs if reduction.role is Role.OUTPUT else served.inputs
        return (
            f"the reference has the {reduction.role.value} {reduction.tensor!r}, which the version "
            f"has not: it has {', '.join(spec.name for spec in specs)}; learn a reference of these "
            "(bascule drift learn), or name columns in the contract's features"
        )


def _row_size(spec: TensorSpec, served: ServedVersion) -> int:
    """Return the elements of a row; a free dimension counts as 1."""
    shape = spec.shape[1:] if served.max_batch_rows else spec.shape
    return prod(max(side, 1) for side in shape)


def marked_missing(array: Array, is_there: Array, *, is_text: bool) -> Array:
    """Mark the rows that lack a tensor as missing: levels as nothing, numbers as NaN."""
    if is_there.all():
        return array
    if is_text:
        found = array.astype(object)
        found[~is_there] = None
        return found
    numbers = array.astype(np.float64)
    numbers[~is_there] = np.nan
    return numbers
