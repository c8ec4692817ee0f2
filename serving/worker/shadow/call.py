"""A copied call in a candidate's queue, and the comparison of its answer.

The answer is encoded as a client would get it: a reply that cannot be written is found, too.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import numpy as np

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import BasculeError, Code
from runtimes.row_comparison import (
    RowComparison,
    compare_rows,
    default_tolerance,
    excerpt,
    unmeasured,
)
from runtimes.tolerance import Tolerance
from serving.monitor.comparison import WORST_ROWS, OutputDifference, WorstRow, worst_rows
from serving.monitor.stages import COPY
from serving.wire.call import InferCall
from serving.wire.tensors import element_bytes
from serving.worker.loaded import LoadedVersion
from serving.worker.queued import QueuedCall
from serving.worker.shadow.message import ShadowCopy, read_output

Outcome = Sequence[Array] | BasculeError

MAX_ID_LETTERS: Final = 128
MAX_INPUT_LETTERS: Final = 400
NOT_EXECUTED: Final = frozenset(
    {
        Code.QUEUE_FULL,
        Code.QUEUE_TIMEOUT,
        Code.NOT_READY,
        Code.DRAINING,
        Code.CANCELLED,
        Code.DEADLINE_EXCEEDED,
    }
)
"""Nothing is known of the candidate's answer then."""


class ShadowCall(QueuedCall):
    """A copy that waits for its batch; `answer` has the outputs in the end, or the reason."""

    __slots__ = ("_loaded", "_wire", "answer")

    is_copy = True
    transport = COPY

    def __init__(
        self, copy: ShadowCopy, loaded: LoadedVersion, answer: "asyncio.Future[Outcome]"
    ) -> None:
        """Decode a copy.

        Raises:
            BasculeError: It does not fit this version.
        """
        head = copy.head
        self._loaded = loaded
        self._wire = head.wire
        self.answer = answer
        self.call = call = (
            loaded.json_codec.decode_request(copy.request, head.header_length)
            if head.wire == "json"
            else loaded.proto_codec.decode_request(copy.request)
        )
        self.rows = call.rows
        self.stack_key = call.stack_key
        self.size_bytes = len(copy.request)
        self.deadline_ns = 0
        self.has_grpc_deadline = False
        self.is_gone = False

    def finish(self, outputs: Sequence[Array]) -> bool:
        """Take the result."""
        if self.answer.done():  # whoever waited for it was cancelled
            return False
        try:
            if self._wire == "json":
                self._loaded.json_codec.encode_reply(self.call, outputs)
            else:
                self._loaded.proto_codec.encode_reply(self.call, outputs)
        except BasculeError as error:
            self.answer.set_result(error)
            return False
        self.answer.set_result(outputs)
        return True

    def fail(self, error: BasculeError) -> None:
        """Take the reason why there is no result."""
        if not self.answer.done():
            self.answer.set_result(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A copy with the candidate's answer: all that a comparison needs."""

    copy: ShadowCopy
    call: InferCall
    inputs: tuple[TensorSpec, ...]
    outputs: dict[str, Array]
    """What the candidate gave, by name."""
    tolerances: dict[str, Tolerance]
    """For the outputs that have one of their own."""
    is_batched: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallComparison:
    """What a comparison of one call has found."""

    rows: int
    mismatched_rows: int
    outputs: dict[str, OutputDifference]
    worst: tuple[WorstRow, ...]


def compare_call(answered: Answered) -> CallComparison:
    """Compare what the candidate gave with the live version's reply; runs in a thread.

    Raises:
        InvalidArgumentError: The copied outputs are damaged.
    """
    mismatched = np.zeros(answered.call.rows, dtype=bool)
    differences: dict[str, OutputDifference] = {}
    worst: list[WorstRow] = []
    for head, raw in zip(answered.copy.head.outputs, answered.copy.outputs, strict=True):
        expected = read_output(head, raw)
        found = answered.outputs.get(head.name)
        if found is None:
            rows = answered.call.rows
            compared = unmeasured(rows, f"the candidate has no output '{head.name}'")
            found = np.empty(0, expected.dtype)
        else:
            found = _as_copied(found)
            allowed = answered.tolerances.get(head.name) or default_tolerance(expected.dtype)
            compared = compare_rows(expected, found, allowed, is_batched=answered.is_batched)
        mismatched |= _of_rows(compared, answered.call.rows)
        differences[head.name] = OutputDifference(
            mismatched_rows=int(np.count_nonzero(compared.mismatched)),
            largest_absolute_error=compared.largest_absolute,
            largest_relative_error=compared.largest_relative,
        )
        worst += _worst(answered, head.name, compared, (expected, found))
    return CallComparison(
        rows=answered.call.rows,
        mismatched_rows=int(np.count_nonzero(mismatched)),
        outputs=differences,
        worst=worst_rows(worst),
    )


def _of_rows(compared: RowComparison, rows: int) -> Array:
    """Return which rows of the call differ; all, where an output has another number of them."""
    if compared.mismatched.shape == (rows,):
        return compared.mismatched
    return np.full(rows, bool(compared.mismatched.any()))


def _as_copied(array: Array) -> Array:
    """Return an output as a copy has it: texts as bytes."""
    if array.dtype != object:
        return array
    elements = np.empty(array.size, dtype=object)
    elements[:] = [element_bytes(element) for element in array.flat]
    return elements.reshape(array.shape)


def _worst(
    answered: Answered, output: str, compared: RowComparison, both: tuple[Array, Array]
) -> list[WorstRow]:
    """Describe the worst rows of one output."""
    rows = np.flatnonzero(compared.mismatched)
    if not rows.size:
        return []
    ranked = rows[np.argsort(-compared.scores[rows], kind="stable")][:WORST_ROWS]
    digest = sha256(answered.copy.request).hexdigest()
    is_batched = answered.is_batched
    described = []
    for row in ranked.tolist():
        place = int(compared.places[row])
        expected, found = (excerpt(array, row, place, is_batched=is_batched) for array in both)
        described.append(
            WorstRow(
                output=output,
                row=row,
                score=float(compared.scores[row]),
                expected=expected,
                found=found,
                inputs=_inputs(answered, row),
                request_sha256=digest,
                request_id=answered.call.id[:MAX_ID_LETTERS],
                reason=compared.reason,
            )
        )
    return described


def _inputs(answered: Answered, row: int) -> str:
    """Write the beginning of a row's inputs for people."""
    call = answered.call
    parts: list[str] = []
    for spec, tensor, shape in zip(answered.inputs, call.tensors, call.shapes, strict=True):
        if tensor is None or shape is None:
            continue
        array: Array = tensor
        if spec.datatype is not Datatype.BYTES:
            array = np.frombuffer(tensor, DTYPES[spec.datatype]).reshape(shape)
        parts.append(f"{spec.name} {excerpt(array, row, 0, is_batched=answered.is_batched)}")
    return "; ".join(parts)[:MAX_INPUT_LETTERS]
