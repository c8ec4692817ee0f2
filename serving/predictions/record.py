"""What the log keeps of a prediction, and of who answered it. Pure but for `with_files`.

A segment stands for itself: before the first prediction of a loaded version comes its `Source`, by
whose number predictions refer to it. Predictions of one batch follow each other, in the order of
their rows. Records, their writing and their reading stand in one file: each field is known to all.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError
from serving.predictions.parameters import NotFinite, not_finite, whole_parameters
from serving.predictions.segment import encode_frame, read_frames
from serving.registry.environment import Environment
from serving.registry.file_digests import FileDigest, digest_of
from serving.registry.policies.log_policy import LogPolicy
from serving.registry.version import ServedVersion, VersionSpec
from serving.wire.parameters import Scalar
from serving.wire.tensors import Buffer, decode_strings, encode_strings, raw_bytes

SOURCE: Final = 1
_LENGTH_BYTES: Final = 4
"""Before each element of BYTES."""
PREDICTION: Final = 2

Kept = Literal["full", "hash", "none", "redacted"]
Route = Literal["chosen", "explicit", "shadow", "step"]
"""The edge chose the version (live or candidate); the caller named it; a copy of another version's
call; a step of an ensemble."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A version as one worker had loaded it: everything that it takes to run it again."""

    number: int
    worker: str
    pid: int
    spec: VersionSpec
    served: ServedVersion
    environment: Environment | None
    """What its results depend on; None: not measured (an ensemble)."""
    policy: LogPolicy
    files: tuple[FileDigest, ...] = ()
    """What its files were, relative to `folder_of`."""


def folder_of(spec: VersionSpec) -> Path:
    """Return where a version's files lie: its bundle, or the folder of its model file."""
    return Path(spec.folder) if spec.folder else Path(spec.file).parent


def needs_reading(spec: VersionSpec) -> bool:
    """Tell whether one must read a version's files to know what they are."""
    return not (spec.files or spec.policy.ensemble)


def with_files(source: Source) -> Source:
    """Return a source that knows what its files are; reads them, unless a bundle lists them.

    Raises:
        OSError: They cannot be read.
    """
    spec = source.spec
    if not needs_reading(spec):
        return msgspec.structs.replace(source, files=spec.files)
    folder, file = folder_of(spec), Path(spec.file)
    # In Triton's layout all of the version's folder is its own: external weights lie there, too.
    own = sorted(folder.rglob("*")) if folder.name.isdecimal() else [file]
    files = [digest_of(path, path.relative_to(folder).as_posix()) for path in own if path.is_file()]
    return msgspec.structs.replace(source, files=tuple(files))


class BatchPlace(msgspec.Struct, frozen=True):
    """Where a call stood in the batch that ran."""

    number: int
    """Of the worker's batches; 0: it was in none (a cache or an ensemble answered)."""
    rows: int
    """Of the whole batch."""
    calls: int
    index: int
    """Of the call."""
    first_row: int
    padded_length: int = 0
    """To which its calls were padded (`serving.wire.padding`); 0: they were not."""


class TensorHead(msgspec.Struct, frozen=True):
    """One tensor of a prediction."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    size_bytes: int
    """Of its bytes in the log; 0 where they are not kept."""
    kept: Kept = "full"
    sha256: str = ""
    """Of its bytes as they came; empty: not kept either."""


class PhasesNs(msgspec.Struct, frozen=True):
    """Where its time went."""

    queue: int
    compute_input: int
    compute_infer: int
    compute_output: int


class PredictionHead(msgspec.Struct, frozen=True, kw_only=True):
    """One answered call."""

    id: str
    source: int
    time_ns: int
    """When it was answered, since 1970."""
    request_id: str
    batch: BatchPlace
    rows: int
    inputs: tuple[TensorHead, ...]
    """Without optional ones that were left out."""
    outputs: tuple[TensorHead, ...]
    """All of the model's, asked for or not."""
    parameters: Mapping[str, Scalar | None] | None
    """None of them is None but in JSON: `parameters` (the module) says why."""
    phases_ns: PhasesNs
    route: Route
    is_sent: bool = True
    """Its client was still there."""
    not_finite: dict[str, NotFinite] | UnsetType = UNSET
    """Parameters that JSON does not have; only as it is written."""


class Prediction(msgspec.Struct, frozen=True):
    """An answered call with its bytes."""

    head: PredictionHead
    source: Source
    tail: memoryview

    def tensor(self, name: str, *, is_output: bool = False) -> Array | None:
        """Return a tensor as an array; BYTES as objects; None: it was left out, or is not kept.

        Raises:
            InvalidArgumentError: Its bytes do not fill its shape.
        """
        role = "output" if is_output else "input"
        for (found, tensor), raw in zip(_tensors(self.head), self._pieces(), strict=True):
            if (found, tensor.name) == (role, name):
                return None if tensor.kept != "full" else read_tensor(tensor, raw)
        return None

    def _pieces(self) -> Iterator[memoryview]:
        at = 0
        for _, tensor in _tensors(self.head):
            yield self.tail[at : at + tensor.size_bytes]
            at += tensor.size_bytes


def keep_tensor(spec: TensorSpec, tensor: Any, shape: Sequence[int], kept: Kept) -> "KeptTensor":  # noqa: ANN401  a buffer, or texts
    """Decide what is written of a tensor.

    Args:
        spec: Name and datatype.
        tensor: Its raw bytes, or an array; BYTES are object arrays.
        shape: Its shape.
        kept: What to keep.
    """
    if kept in {"none", "redacted"}:
        return KeptTensor(TensorHead(spec.name, spec.datatype, tuple(shape), 0, kept), b"")
    raw: Buffer = tensor if not isinstance(tensor, np.ndarray) else raw_tensor(tensor)
    if kept == "hash":
        digest = sha256(raw).hexdigest()
        return KeptTensor(TensorHead(spec.name, spec.datatype, tuple(shape), 0, kept, digest), b"")
    return KeptTensor(TensorHead(spec.name, spec.datatype, tuple(shape), len(raw)), raw)


class KeptTensor(msgspec.Struct, frozen=True):
    """What is written of a tensor."""

    head: TensorHead
    raw: Buffer


def encode_source(source: Source) -> list[Buffer]:
    """Write a source."""
    return encode_frame(SOURCE, msgspec.json.encode(source))


def encode_prediction(head: PredictionHead, raws: Sequence[Buffer]) -> list[Buffer]:
    """Write a prediction; `raws` are the bytes of its inputs, then of its outputs."""
    written = as_written(head) if head.parameters else head
    try:
        text = msgspec.json.encode(written)
    except UnicodeEncodeError:
        # It is written with others' records, which must not be lost with it.
        text = json.dumps(msgspec.to_builtins(written), ensure_ascii=False).encode(errors="replace")
    return encode_frame(PREDICTION, text, raws)


def as_written(head: PredictionHead) -> PredictionHead:
    """Return a head of which JSON has all."""
    given = head.parameters or {}
    others = not_finite(given)
    if not others:
        return head
    finite = {name: value for name, value in given.items() if name not in others}
    return msgspec.structs.replace(head, parameters=finite or None, not_finite=others)


def read_predictions(
    content: Buffer, name: str, faults: list[str] | None = None
) -> Iterator[Prediction]:
    """Read the whole records of a segment.

    Args:
        content: The segment.
        name: What to call it in messages.
        faults: Is told of each record that is whole and cannot be understood, and of what is
            damaged; the others are read. What is not whole at the end may be still being written,
            or have been when its process died.

    Raises:
        InvalidArgumentError: A record cannot be understood, and there are no `faults` to tell it.
    """
    sources: dict[int, Source] = {}
    end = 0
    for frame in read_frames(content):
        if faults is not None and frame.begin > end:
            faults.append(f"{name}: bytes {end} to {frame.begin} are not what was written")
        end = frame.end
        try:
            if frame.kind == SOURCE:
                source = msgspec.json.decode(frame.head, type=Source)
                sources[source.number] = source
            elif frame.kind == PREDICTION:
                head = msgspec.json.decode(frame.head, type=PredictionHead)
                yield Prediction(_as_read(head), sources[head.source], frame.tail)
        except (msgspec.DecodeError, KeyError) as error:
            fault = (
                f"{name}: the record that ends at byte {frame.end} is none of a prediction log of "
                f"this version of Bascule: {error}"
            )
            if faults is None:
                raise InvalidArgumentError(fault) from error
            faults.append(fault)


def _as_read(head: PredictionHead) -> PredictionHead:
    others = head.not_finite or {}
    if not (head.parameters or others):
        return head
    whole = whole_parameters(head.parameters or {}, others)
    return msgspec.structs.replace(head, parameters=whole, not_finite=UNSET)


def read_tensor(head: TensorHead, raw: memoryview) -> Array:
    """Return a tensor's array.

    Raises:
        InvalidArgumentError: Its bytes do not fill its shape.
    """
    if head.datatype is Datatype.BYTES:
        return _elements(head, raw)
    dtype = DTYPES[head.datatype]
    if min(head.shape, default=0) >= 0 and prod(head.shape) * dtype.itemsize == len(raw):
        # What has no element may still have a dimension that no array can have.
        with suppress(ValueError):
            return np.frombuffer(raw, dtype).reshape(head.shape)
    raise InvalidArgumentError(
        f"logged tensor '{head.name[:80]}' has {len(raw)} bytes, which are no {head.datatype} "
        f"tensor of shape {list(head.shape)[:8]}"
    )


def _elements(head: TensorHead, raw: memoryview) -> Array:
    """Return texts; where a model has answered something else than text, that stays bytes."""
    try:
        return decode_strings(raw, head.shape, name=head.name, model="the log")
    except InvalidArgumentError:
        elements: list[str | bytes] = []
        at = 0
        while at < len(raw):
            start = at + _LENGTH_BYTES
            at = start + int.from_bytes(raw[at:start], "little")
            elements.append(_text_or_bytes(bytes(raw[start:at])))
        if not elements or at != len(raw) or prod(head.shape) != len(elements):
            raise
    found: Array = np.empty(len(elements), dtype=object)
    found[:] = elements
    return found.reshape(head.shape)


def _text_or_bytes(element: bytes) -> str | bytes:
    try:
        return element.decode()
    except UnicodeDecodeError:
        return element


def _tensors(head: PredictionHead) -> Iterator[tuple[str, TensorHead]]:
    yield from (("input", tensor) for tensor in head.inputs)
    yield from (("output", tensor) for tensor in head.outputs)


def raw_tensor(array: Array) -> Buffer:
    """Return an array's bytes as they are written."""
    return encode_strings(array) if array.dtype == object else raw_bytes(array)
