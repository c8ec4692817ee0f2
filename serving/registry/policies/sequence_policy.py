"""How a model is served in sequences: what the worker feeds it besides a call's own tensors.

The calls of a sequence carry its id. Between them the worker keeps the sequence's state: it feeds
each state tensor with what the model gave as that state in the call before, and tells the model by
control tensors where in its sequence a call stands. Clients see neither.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype

INITIAL_STATE_FOLDER: Final = "initial_state"
"""Where a model's folder holds what its sequences start with."""


class ControlKind(StrEnum):
    """What a control tensor tells the model."""

    START = "start"
    READY = "ready"
    END = "end"
    CORRID = "corrid"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlTensor:
    """An input of one element a row that the worker fills in."""

    name: str
    kind: ControlKind
    datatype: Datatype
    values: tuple[float, float] = (0.0, 1.0)
    """What stands for false and for true; CORRID carries the sequence's id instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateTensor:
    """An input that is fed with an output of the sequence's call before."""

    input_name: str
    output_name: str
    datatype: Datatype
    dims: tuple[int, ...]
    """Without the batch dimension; -1 is free."""
    initial_dims: tuple[int, ...]
    """Size of what a sequence starts with."""
    initial_file: str = ""
    """Its bytes, below the model's folder `initial_state`; empty: zeros."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequencePolicy:
    """What a configuration says of a model's sequences."""

    max_sequences: int
    """How many may be under way; the first calls of others wait."""
    idle_s: float
    """A sequence without a call for so long has ended."""
    controls: tuple[ControlTensor, ...] = ()
    states: tuple[StateTensor, ...] = ()
    shown_states: frozenset[str] = frozenset()
    """Outputs that are state and that clients may see as well, because they are listed."""

    @property
    def hidden_inputs(self) -> frozenset[str]:
        """Inputs that clients do not send."""
        states = (state.input_name for state in self.states)
        return frozenset((*states, *(control.name for control in self.controls)))

    @property
    def hidden_outputs(self) -> frozenset[str]:
        """Outputs that clients do not get."""
        return frozenset(state.output_name for state in self.states) - self.shown_states

    @property
    def files(self) -> tuple[str, ...]:
        """What sequences start with, by paths in the model's folder; each once."""
        named = (state.initial_file for state in self.states if state.initial_file)
        return tuple(dict.fromkeys(f"{INITIAL_STATE_FOLDER}/{name}" for name in named))

    def fed_specs(self) -> tuple[TensorSpec, ...]:
        """Specs of the hidden inputs, without the batch dimension."""
        controls = (
            TensorSpec(name=one.name, datatype=one.datatype, shape=(1,)) for one in self.controls
        )
        states = (
            TensorSpec(name=one.input_name, datatype=one.datatype, shape=one.dims)
            for one in self.states
        )
        return (*controls, *states)

    def first_specs(self) -> tuple[TensorSpec, ...]:
        """Specs of the hidden inputs in the first call of a sequence, every size known."""
        sizes = {state.input_name: state.initial_dims for state in self.states}
        return tuple(
            replace(spec, shape=sizes.get(spec.name, spec.shape)) for spec in self.fed_specs()
        )

    def kept_specs(self) -> tuple[TensorSpec, ...]:
        """Specs of the hidden outputs, without the batch dimension."""
        return tuple(
            TensorSpec(name=one.output_name, datatype=one.datatype, shape=one.dims)
            for one in self.states
            if one.output_name not in self.shown_states
        )
