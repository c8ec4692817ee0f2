"""Pure: the chosen calls of a batch → records of the prediction log."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from serving.predictions.record import (
    BatchPlace,
    Kept,
    KeptTensor,
    PhasesNs,
    PredictionHead,
    TensorHead,
    encode_prediction,
    keep_tensor,
    raw_tensor,
)
from serving.wire.tensors import Buffer
from serving.worker.log_queue import LoggedVersion, TakenBatch, TakenCall

MAX_HEADS: Final = 1024


class TensorHeads:
    """What is said of tensors, remembered: most calls have tensors like those of others."""

    def __init__(self) -> None:
        """Remember nothing."""
        self._known: dict[object, tuple[TensorHead, ...]] = {}

    def of_inputs(self, version: LoggedVersion, call: TakenCall) -> tuple[TensorHead, ...]:
        """Return the heads of inputs that are kept in full."""
        asked = call.call
        key = (version.number, asked.shapes, tuple([len(one) for one in asked.tensors]))
        found = self._known.get(key)
        if found is None:
            found = tuple([tensor.head for tensor in _inputs(version, call)])
            self._remember(key, found)
        return found

    def of_outputs(
        self, version: LoggedVersion, call: TakenCall, raws: Sequence[Buffer]
    ) -> tuple[TensorHead, ...]:
        """Return the heads of outputs that are kept in full, as these bytes."""
        shapes = tuple([array.shape for array in call.outputs])
        key = (version.number, shapes, tuple(map(len, raws)), True)
        found = self._known.get(key)
        if found is None:
            found = tuple([tensor.head for tensor in _outputs(version, call)])
            self._remember(key, found)
        return found

    def _remember(self, key: object, heads: tuple[TensorHead, ...]) -> None:
        if len(self._known) >= MAX_HEADS:
            self._known.clear()
        self._known[key] = heads


def encode_batch(
    batch: TakenBatch, offset_ns: int, known: TensorHeads | None = None
) -> list[Buffer]:
    """Return the records of a batch.

    Args:
        batch: The calls.
        offset_ns: From the monotonic clock of its times to the time since 1970.
        known: What earlier batches' tensors were like.
    """
    known = known or TensorHeads()
    begin_ns, infer_ns, split_ns, end_ns = batch.moments_ns
    parts: list[Buffer] = []
    for call in batch.calls:
        kept = _kept(batch.version, call, known)
        head = PredictionHead(
            id=call.id,
            source=batch.version.number,
            time_ns=end_ns + offset_ns,
            request_id=call.call.id,
            batch=BatchPlace(
                batch.number,
                batch.rows,
                batch.call_count,
                call.index,
                call.first_row,
                batch.padded_length,
            ),
            rows=call.rows,
            inputs=kept.inputs,
            outputs=kept.outputs,
            parameters=_parameters(batch.version, call),
            phases_ns=PhasesNs(
                max(begin_ns - call.enqueued_ns, 0),
                infer_ns - begin_ns,
                split_ns - infer_ns,
                end_ns - split_ns,
            ),
            route=call.route,
            is_sent=call.is_sent,
        )
        parts += encode_prediction(head, kept.raws)
    return parts


class _KeptTensors(NamedTuple):
    inputs: tuple[TensorHead, ...]
    outputs: tuple[TensorHead, ...]
    raws: Sequence[Buffer]


def _kept(version: LoggedVersion, call: TakenCall, known: TensorHeads) -> _KeptTensors:
    policy, asked = version.policy, call.call
    if policy.is_whole and None not in asked.shapes and _are_raw(asked.tensors):
        raws = [raw_tensor(array) for array in call.outputs[: len(version.served.outputs)]]
        inputs = known.of_inputs(version, call)
        return _KeptTensors(inputs, known.of_outputs(version, call, raws), [*asked.tensors, *raws])
    ins, outs = list(_inputs(version, call)), list(_outputs(version, call))
    return _KeptTensors(
        tuple([tensor.head for tensor in ins]),
        tuple([tensor.head for tensor in outs]),
        [tensor.raw for tensor in (*ins, *outs)],
    )


def _are_raw(tensors: Sequence[object]) -> bool:
    return not any(isinstance(tensor, np.ndarray) for tensor in tensors)


def _parameters(
    version: LoggedVersion, call: TakenCall
) -> dict[str, str | int | float | bool] | None:
    """Return what is kept of parameters: callers may write anything there, as into inputs."""
    if version.policy.inputs not in {None, "full"}:
        return None
    redacted = version.policy.redacted
    given = call.call.parameters or {}
    return {name: value for name, value in given.items() if name not in redacted} or None


def _inputs(version: LoggedVersion, call: TakenCall) -> Iterator[KeptTensor]:
    given = zip(version.served.inputs, call.call.tensors, call.call.shapes, strict=True)
    for spec, tensor, shape in given:
        if shape is not None:
            kept: Kept = version.policy.inputs or "full"
            if spec.name in version.policy.redacted:
                kept = "redacted"
            yield keep_tensor(spec, tensor, shape, kept)


def _outputs(version: LoggedVersion, call: TakenCall) -> Iterator[KeptTensor]:
    # Of a sequence's model the state stands behind what clients see: it is left out.
    for spec, array in zip(version.served.outputs, call.outputs, strict=False):
        kept: Kept = "redacted" if spec.name in version.policy.redacted else "full"
        yield keep_tensor(spec, array, array.shape, kept)
