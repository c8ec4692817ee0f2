"""Pure: a contract, compiled for the tensors of a version: requests and answers → verdicts."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from runtimes.contract import Array, TensorSpec
from runtimes.errors import ModelLoadError
from serving.monitor.quality.bounds import bounds_of
from serving.monitor.quality.event_time import EventWatch
from serving.monitor.quality.leading_bytes import Holds
from serving.monitor.quality.verdict import Verdict
from serving.monitor.quality.watch import Findings, Watch
from serving.registry.contracts.contract_fit import misfits
from serving.registry.contracts.data_contract import DataContract, Watched

Tests = tuple[tuple[int, Holds], ...]
"""(place among the arrays, what settles the tensor there) …"""


class Judge:
    """The rules of one version."""

    def __init__(
        self,
        contract: DataContract,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        *,
        is_batched: bool,
    ) -> None:
        """Compile a contract; inputs that it does not name are watched for missing values.

        Raises:
            ModelLoadError: The contract is not one for these tensors.
        """
        problems = misfits(contract, inputs, outputs, is_batched=is_batched)
        if problems:
            raise ModelLoadError(
                f"BP-D01 contract: {problems[0]}: correct the contract, or bring the one that was "
                "written for this model"
            )
        self.contract = contract
        self.inputs = _watched_tensors(contract, contract.inputs, inputs, is_batched=is_batched)
        self.outputs = _watched_tensors(contract, contract.outputs, outputs, is_batched=is_batched)
        time = contract.event_time
        self.event_time = None if time is None else EventWatch(time, contract)
        names = [spec.name for spec in inputs]
        self._event_at = names.index(time.input) if time and time.input else None
        self.judges_batches = time is None and all(one.holds is not None for one in self.inputs)
        """Whether `input_tests` settle requests: what is asked of them is asked of each value."""
        self.input_tests = _tests(self.inputs)
        """If all hold, there is nothing to say of requests, one after the other."""
        self.output_tests = _tests(self.outputs)
        """The same of answers."""

    def judge_inputs(
        self,
        arrays: Sequence[Array | None],
        rows: int,
        parameters: Mapping[str, object] | None,
        now_s: float,
    ) -> Verdict | None:
        """Judge a request.

        Args:
            arrays: One for each input, in the model's order; None: left out.
            rows: Of the request; 1 without a batch dimension.
            parameters: The request's own.
            now_s: Seconds since 1970.

        Returns:
            What there is to say; None: nothing.
        """
        found = _looked_at(self.inputs, arrays, rows)
        if self.event_time is not None:
            found = found or Findings(np.zeros(rows, bool))
            event = None if self._event_at is None else arrays[self._event_at]
            self.event_time.look(event, parameters, now_s, found)
        return None if found is None else _verdict(found)

    def judge_outputs(self, arrays: Sequence[Array], rows: int) -> Verdict | None:
        """Judge an answer: one array for each output of the model, in its order."""
        found = _looked_at(self.outputs, arrays, rows)
        return None if found is None else _verdict(found)


class _Tensor(NamedTuple):
    """What is watched of one tensor."""

    at: int
    """Its place among the arrays."""
    holds: Holds | None
    """What settles all watches at once; None: nothing does."""
    watches: tuple[Watch, ...]


def _tests(tensors: Sequence[_Tensor]) -> Tests:
    return tuple((at, holds or _never) for at, holds, _ in tensors)


def _never(array: Array | None, rows: int) -> bool:
    del array, rows
    return False


def _looked_at(
    tensors: Sequence[_Tensor], arrays: Sequence[Array | None], rows: int
) -> Findings | None:
    """Look closely at the tensors that bounds do not settle; None: there are none."""
    found = None
    for at, holds, watches in tensors:
        array = arrays[at]
        if holds is not None and holds(array, rows):
            continue
        found = found or Findings(np.zeros(rows, bool))
        for watch in watches:
            watch.look(array, found)
    return found


def _watched_tensors(
    contract: DataContract,
    watched: Sequence[Watched],
    specs: Sequence[TensorSpec],
    *,
    is_batched: bool,
) -> list[_Tensor]:
    """Compile what a contract says, tensor by tensor."""
    found = []
    for at, spec in enumerate(specs):
        named = [one for one in watched if one.tensor == spec.name]
        if not named and watched is contract.inputs:
            named = [Watched(name=spec.name, tensor=spec.name)]
        watches = tuple(Watch(one, spec, contract) for one in named)
        if watches:
            holds = bounds_of(watches, spec, is_batched=is_batched)
            found.append(_Tensor(at, holds, watches))
    return found


def _verdict(found: Findings) -> Verdict | None:
    if not (found.violations or found.missing) and found.lag_s is None:
        return None
    return Verdict(
        violations=tuple(found.violations),
        missing=tuple(found.missing),
        null_rows=found.null_rows,
        violating_row_count=int(np.count_nonzero(found.bad_rows)),
        bad_rows=found.bad_rows if found.violations else None,
        lag_s=found.lag_s,
    )
