"""Pure: the chosen calls of a batch → records of the prediction log."""

from collections.abc import Iterator

from serving.predictions.record import (
    BatchPlace,
    Kept,
    KeptTensor,
    PhasesNs,
    PredictionHead,
    encode_prediction,
    keep_tensor,
)
from serving.wire.tensors import Buffer
from serving.worker.log_queue import LoggedVersion, TakenBatch, TakenCall


def encode_batch(batch: TakenBatch, offset_ns: int) -> list[Buffer]:
    """Return the records of a batch.

    Args:
        batch: The calls.
        offset_ns: From the monotonic clock of its times to the time since 1970.
    """
    begin_ns, infer_ns, split_ns, end_ns = batch.moments_ns
    parts: list[Buffer] = []
    for call in batch.calls:
        inputs = list(_inputs(batch.version, call))
        outputs = list(_outputs(batch.version, call))
        head = PredictionHead(
            id=call.id,
            source=batch.version.number,
            time_ns=end_ns + offset_ns,
            request_id=call.call.id,
            batch=BatchPlace(
                batch.number, batch.rows, batch.call_count, call.index, call.first_row
            ),
            rows=call.rows,
            inputs=tuple([tensor.head for tensor in inputs]),
            outputs=tuple([tensor.head for tensor in outputs]),
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
        parts += encode_prediction(head, [tensor.raw for tensor in (*inputs, *outputs)])
    return parts


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
