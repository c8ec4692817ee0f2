"""Fast path. Calls of sequences → the engine's feeds, controls and states among them, and back.

Each call is one row of another sequence: calls of one sequence never run together.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast

import numpy as np

from runtimes.contract import Array, LoadedModel, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError, ModelLoadError
from serving.registry.policies.sequence_policy import ControlKind, ControlTensor, SequencePolicy
from serving.wire.call import InferCall
from serving.worker.stacking import Stacked, Stacker

SequenceId = int | str

MAX_ID_BYTES: Final = 128
"""As in Triton. Ids are remembered for a while after their sequences."""


class SequenceRow(Protocol):
    """A call of a sequence, as it is run."""

    rows: int
    call: InferCall
    sequence_id: SequenceId
    starts: bool
    ends: bool

    @property
    def state(self) -> Sequence[Array] | None:
        """What the call before left; None: nothing yet."""


class SequenceStacker(Stacker):
    """Builds feeds and splits outputs of a model that is served in sequences.

    Each call gets the outputs that its client may see, and behind them its sequence's new state.
    """

    def __init__(
        self,
        policy: SequencePolicy,
        model: LoadedModel,
        shown: Sequence[TensorSpec],
        *,
        initial: Sequence[Array],
        max_batch_rows: int,
    ) -> None:
        """Find the tensors of `policy` in the model.

        Args:
            policy: How the model is served.
            model: The loaded model.
            shown: The inputs that clients send.
            initial: What each state is at the start of a sequence.
            max_batch_rows: 0 where the model has no batch dimension.

        Raises:
            ModelLoadError: The model lacks one, or has it with another datatype.
        """
        super().__init__(shown, model.outputs, max_batch_rows=max_batch_rows)
        self._rows_shape = (-1,) if max_batch_rows else ()
        inputs = [spec.name for spec in model.inputs]
        outputs = [spec.name for spec in model.outputs]
        check_tensors(policy, model)
        self._input_count = len(inputs)
        self._shown_inputs = [inputs.index(spec.name) for spec in shown]
        self._controls = [(inputs.index(one.name), _value(one), one) for one in policy.controls]
        self._states = [inputs.index(one.input_name) for one in policy.states]
        shown_outputs = [i for i, name in enumerate(outputs) if name not in policy.hidden_outputs]
        self.shown_count: Final = len(shown_outputs)
        self._outputs = shown_outputs + [outputs.index(one.output_name) for one in policy.states]
        self._initial = initial
        self._has_free_state = any(-1 in one.dims for one in policy.states)

    def stack_key(self, row: SequenceRow) -> Any:  # noqa: ANN401  any hashable
        """Return what must be equal in calls that run together: the states' shapes, too."""
        if not self._has_free_state:
            return row.call.stack_key
        return row.call.stack_key, tuple(array.shape for array in self._state(row))

    def feeds(self, batch: Sequence[Stacked], rows: int) -> list[Array | None]:
        """Return one array per input of the model."""
        feeds: list[Array | None] = [None] * self._input_count
        for place, array in zip(self._shown_inputs, super().feeds(batch, rows), strict=True):
            feeds[place] = array
        members = cast("Sequence[SequenceRow]", batch)  # the batcher gives back what it was given
        for place, value, control in self._controls:
            dtype = DTYPES[control.datatype]
            values = np.array([value(row) for row in members], dtype)
            feeds[place] = values.reshape((*self._rows_shape, 1))
        states = [self._state(row) for row in members]
        for index, place in enumerate(self._states):
            parts = [state[index] for state in states]
            feeds[place] = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return feeds

    def split(
        self, batch: Sequence[Stacked], rows: int, outputs: Sequence[Array]
    ) -> list[Sequence[Array]]:
        """Return each call's shown outputs and its sequence's state behind them."""
        return [
            [part[place] for place in self._outputs] for part in super().split(batch, rows, outputs)
        ]

    def _state(self, row: SequenceRow) -> Sequence[Array]:
        state = row.state
        return self._initial if row.starts or state is None else state


def check_tensors(policy: SequencePolicy, model: LoadedModel) -> None:
    """Refuse a model that lacks a control or state tensor of its configuration.

    Raises:
        ModelLoadError: It does, or has one with another datatype.
    """
    inputs = {spec.name: spec for spec in model.inputs}
    outputs = {spec.name: spec for spec in model.outputs}
    wanted = [("input", inputs, spec) for spec in policy.fed_specs()]
    for state in policy.states:
        spec = TensorSpec(name=state.output_name, datatype=state.datatype, shape=state.dims)
        wanted.append(("output", outputs, spec))
    for role, there, spec in wanted:
        own = there.get(spec.name)
        if own is None:
            raise ModelLoadError(
                f"sequence_batching names {role} '{spec.name}', which the model does not have; its "
                f"{role}s are {', '.join(sorted(there)) or 'none'}: correct the name"
            )
        if own.datatype is not spec.datatype:
            raise ModelLoadError(
                f"{role} '{spec.name}' is {own.datatype} in the model and {spec.datatype} in "
                "sequence_batching: correct the configuration"
            )


def check_id(policy: SequencePolicy, sequence: SequenceId) -> None:
    """Refuse an id that is too long, or that the model's CORRID tensor cannot carry.

    Raises:
        InvalidArgumentError: It is, or cannot.
    """
    if isinstance(sequence, str) and (size := len(sequence.encode())) > MAX_ID_BYTES:
        raise InvalidArgumentError(
            f"sequence_id '{sequence[:80]}…' has {size} bytes as UTF-8: at most {MAX_ID_BYTES}"
        )
    for control in policy.controls:
        if control.kind is not ControlKind.CORRID or control.datatype is Datatype.BYTES:
            continue
        limits = np.iinfo(DTYPES[control.datatype])
        if not isinstance(sequence, int):
            raise InvalidArgumentError(
                f"sequence_id '{sequence[:80]}' is text, and the model takes ids as "
                f"{control.datatype}: send a number"
            )
        if not limits.min <= sequence <= limits.max:
            raise InvalidArgumentError(
                f"sequence_id {sequence} does not fit the {control.datatype} that the model takes: "
                f"at most {limits.max}"
            )


def _value(control: ControlTensor) -> Callable[[SequenceRow], Any]:
    false, true = control.values
    match control.kind:
        case ControlKind.START:
            return lambda row: true if row.starts else false
        case ControlKind.END:
            return lambda row: true if row.ends else false
        case ControlKind.READY:
            return lambda _: true  # rows of nobody are not run
        case ControlKind.CORRID if control.datatype is Datatype.BYTES:
            return lambda row: str(row.sequence_id)
        case ControlKind.CORRID:
            return lambda row: row.sequence_id
