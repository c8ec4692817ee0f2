"""`sequence_batching` of a model configuration → how the model is served in sequences.

==========  ==================================  ==============================================
strategy    sequences under way at most         calls that run together
==========  ==================================  ==============================================
``direct``  max_batch_size (1 without), times   what is there; with a delay: once so many
            instances: each has a slot          slots have a call (minimum_slot_utilization)
``oldest``  max_candidate_sequences, times      as with dynamic batching: preferred sizes,
            instances                           a delay
==========  ==================================  ==============================================
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from protos.generated import model_config_pb2 as pb
from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.registry.model_config.details import inner_path
from serving.registry.policies.sequence_policy import (
    ControlKind,
    ControlTensor,
    SequencePolicy,
    StateTensor,
)
from serving.registry.version import QueuePolicy

DEFAULT_IDLE_S: Final = 1.0
DEFAULT_CANDIDATES: Final = 1024
MAX_SEQUENCES: Final = 1 << 20
IDS: Final = frozenset(
    {Datatype.UINT64, Datatype.INT64, Datatype.UINT32, Datatype.INT32, Datatype.BYTES}
)
KINDS: Final = {
    pb.ModelSequenceBatching.Control.CONTROL_SEQUENCE_START: ControlKind.START,
    pb.ModelSequenceBatching.Control.CONTROL_SEQUENCE_READY: ControlKind.READY,
    pb.ModelSequenceBatching.Control.CONTROL_SEQUENCE_END: ControlKind.END,
    pb.ModelSequenceBatching.Control.CONTROL_SEQUENCE_CORRID: ControlKind.CORRID,
}


def sequence_policy(
    message: pb.ModelConfig, *, max_batch_rows: int, instance_count: int
) -> SequencePolicy | None:
    """Read `sequence_batching`; None where the model has none.

    Raises:
        InvalidArgumentError: It contradicts itself.
        UnsupportedError: It asks for something that is not served.
    """
    if not message.HasField("sequence_batching"):
        return None
    batching = message.sequence_batching
    if batching.iterative_sequence:
        raise UnsupportedError(
            "sequence_batching: iterative sequences are not served: send one call a step"
        )
    policy = SequencePolicy(
        max_sequences=_sequence_count(batching, max_batch_rows) * instance_count,
        idle_s=batching.max_sequence_idle_microseconds / 1e6 or DEFAULT_IDLE_S,
        controls=tuple(
            _control(given.name, control)
            for given in batching.control_input
            for control in given.control
        ),
        states=tuple(_state(state) for state in batching.state),
        shown_states=frozenset(tensor.name for tensor in message.output)
        & {state.output_name for state in batching.state},
    )
    _check_names(policy, message)
    if policy.max_sequences > MAX_SEQUENCES:
        raise InvalidArgumentError(
            f"sequence_batching: {policy.max_sequences} sequences may be under way, at most "
            f"{MAX_SEQUENCES} are served: lower max_candidate_sequences or the instances' count"
        )
    return policy


def hidden_tensors(message: pb.ModelConfig) -> tuple[frozenset[str], frozenset[str]]:
    """Return the inputs and outputs of a configuration that passed which clients do not see."""
    batching = message.sequence_batching
    inputs = {state.input_name for state in batching.state}
    inputs.update(control.name for control in batching.control_input)
    outputs = {state.output_name for state in batching.state}
    outputs.difference_update(tensor.name for tensor in message.output)
    return frozenset(inputs), frozenset(outputs)


def sequence_queue(message: pb.ModelConfig, max_batch_rows: int) -> QueuePolicy:
    """Return which calls of different sequences run together.

    Raises:
        InvalidArgumentError: A preferred size is none.
    """
    batching = message.sequence_batching
    if batching.HasField("oldest"):
        sizes = batching.oldest.preferred_batch_size
        wrong = [size for size in sizes if not 0 < size <= max_batch_rows]
        if wrong:
            raise InvalidArgumentError(
                f"sequence_batching: preferred_batch_size {wrong[0]} is not between 1 and "
                f"max_batch_size {max_batch_rows}"
            )
        return QueuePolicy(
            preferred_batch_rows=tuple(sorted(set(sizes))),
            max_queue_delay_s=batching.oldest.max_queue_delay_microseconds / 1e6,
        )
    delay_s = batching.direct.max_queue_delay_microseconds / 1e6
    enough = max(1, math.ceil(batching.direct.minimum_slot_utilization * max_batch_rows))
    return QueuePolicy(
        preferred_batch_rows=tuple(range(enough, max_batch_rows + 1)) if delay_s else (),
        max_queue_delay_s=delay_s,
    )


def _sequence_count(batching: pb.ModelSequenceBatching, max_batch_rows: int) -> int:
    if not batching.HasField("oldest"):
        share = batching.direct.minimum_slot_utilization
        if not 0 <= share <= 1:
            raise InvalidArgumentError(
                f"sequence_batching: minimum_slot_utilization is {share:g}: 0 to 1 is expected"
            )
        return max(1, max_batch_rows)
    count = batching.oldest.max_candidate_sequences
    if count < 0:
        raise InvalidArgumentError(
            f"sequence_batching: max_candidate_sequences is {count}: 1 or more is expected"
        )
    return count or DEFAULT_CANDIDATES


def _control(name: str, control: pb.ModelSequenceBatching.Control) -> ControlTensor:
    kind = KINDS[control.kind]
    if kind is ControlKind.CORRID:
        datatype = _datatype(control.data_type, f"control_input '{name[:80]}'")
        if datatype not in IDS:
            raise InvalidArgumentError(
                f"sequence_batching: control_input '{name[:80]}' has data_type {datatype}: a "
                "sequence's id is TYPE_UINT64, TYPE_INT64, TYPE_UINT32, TYPE_INT32 or TYPE_STRING"
            )
        return ControlTensor(name=name, kind=kind, datatype=datatype)
    given: dict[Datatype, Sequence[float]] = {
        Datatype.INT32: control.int32_false_true,
        Datatype.FP32: control.fp32_false_true,
        Datatype.BOOL: control.bool_false_true,
    }
    said = {datatype: tuple(values) for datatype, values in given.items() if values}
    if [len(values) for values in said.values()] != [2]:
        raise InvalidArgumentError(
            f"sequence_batching: control_input '{name[:80]}' needs exactly one of "
            "int32_false_true, fp32_false_true and bool_false_true, with two values"
        )
    datatype, (false, true) = said.popitem()
    return ControlTensor(
        name=name, kind=kind, datatype=datatype, values=(float(false), float(true))
    )


def _state(state: pb.ModelSequenceBatching.State) -> StateTensor:
    what = f"state '{state.input_name[:80]}'"
    if not state.input_name or not state.output_name:
        raise InvalidArgumentError(f"sequence_batching: {what} needs input_name and output_name")
    dims = tuple(state.dims)
    files = [one.data_file for one in state.initial_state if one.data_file]
    initial = tuple(state.initial_state[0].dims) if state.initial_state else dims
    if len(state.initial_state) > 1:
        raise UnsupportedError(f"sequence_batching: {what} has several initial states: keep one")
    if len(initial) != len(dims) or any(
        told not in (-1, size) and size != -1 for told, size in zip(dims, initial, strict=False)
    ):
        raise InvalidArgumentError(
            f"sequence_batching: {what} has dims {list(dims)}, and its initial state "
            f"{list(initial)}: they must agree"
        )
    return StateTensor(
        input_name=state.input_name,
        output_name=state.output_name,
        datatype=_datatype(state.data_type, what),
        dims=dims,
        initial_dims=tuple(1 if size == -1 else size for size in initial),
        initial_file=inner_path(files[0], "data_file") if files else "",
    )


def _datatype(number: int, what: str) -> Datatype:
    kind = pb.DataType.Name(number).removeprefix("TYPE_")
    if kind == "INVALID":
        raise InvalidArgumentError(
            f"sequence_batching: {what} needs a data_type, as in data_type: TYPE_FP32"
        )
    return Datatype.BYTES if kind == "STRING" else Datatype(kind)


def _check_names(policy: SequencePolicy, message: pb.ModelConfig) -> None:
    fed = [control.name for control in policy.controls]
    fed += [state.input_name for state in policy.states]
    _check_once(fed, "input")
    _check_once((state.output_name for state in policy.states), "state output")
    kinds = [control.kind for control in policy.controls]
    _check_once((kind.value for kind in kinds), "control")
    listed = policy.hidden_inputs.intersection(tensor.name for tensor in message.input)
    if listed:
        raise InvalidArgumentError(
            f"sequence_batching: '{min(listed)[:80]}' is listed as an input, and the worker fills "
            "it in: take it out of the inputs"
        )


def _check_once(names: Iterable[str], role: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidArgumentError(f"sequence_batching: {role} '{name[:80]}' is named twice")
        seen.add(name)
