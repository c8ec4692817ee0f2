"""Writes logged predictions as a table for training, and says in a file beside it where it is from.

One line a row: the prediction's id and time, the version, the columns of each input and output. A
tensor of several values a row is one column of lists in Parquet, an array in .npz, and as many
columns `name_0` … in CSV. Predictions whose inputs are not kept are left out, and counted.
Table and lineage are made of the same columns, hence in one file.
"""

import csv
import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec
import numpy as np

from runtimes.contract import Array
from runtimes.errors import InvalidArgumentError
from runtimes.tolerance import is_float
from serving.errors import NotFoundError
from serving.own_version import own_version
from serving.predictions.reading import Filter, PredictionReader, answered_at
from serving.predictions.record import Prediction

LINEAGE_SUFFIX: Final = ".lineage.json"
MAX_TEXT_BYTES: Final = 1 << 30
KEYS: Final = ("prediction_id", "answered_at", "model", "version")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedVersion:
    """A version that answered some of it."""

    model: str
    version: int
    digest: str
    fingerprint: str
    predictions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where an exported table is from."""

    file: str
    sha256: str
    size_bytes: int
    rows: int
    predictions: int
    left_out: int
    """Predictions whose inputs are not kept in full."""
    not_understood: tuple[str, ...]
    """Of each segment with such records: how many, and why."""
    answered_from: datetime
    answered_until: datetime
    versions: tuple[ExportedVersion, ...]
    wanted: Filter
    log: tuple[str, ...]
    columns: tuple[str, ...]
    exported_at: datetime
    bascule: str


def export_predictions(reader: PredictionReader, wanted: Filter, target: Path) -> Lineage:
    """Write a table of predictions and its lineage.

    Raises:
        NotFoundError: No prediction is wanted whose inputs are kept.
        InvalidArgumentError: The file has another ending or cannot be written, the tensors have
            different forms, or the package for Parquet is not installed.
    """
    encode = WRITERS.get(target.suffix)
    if encode is None:
        raise InvalidArgumentError(
            f"'{target.name}' names no format: .parquet, .csv or .npz is expected"
        )
    _require_place(target)
    all_found = list(reader.oldest(wanted))
    found = [prediction for prediction in all_found if _is_kept(prediction)]
    if not found:
        raise NotFoundError(
            f"no prediction to export: {len(all_found)} fit, and the inputs of none are kept"
        )
    columns = _columns(found)
    content = encode(columns)
    _write(target, content)
    times = [answered_at(prediction) for prediction in found]
    lineage = Lineage(
        file=target.name,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        rows=len(columns[KEYS[0]]),
        predictions=len(found),
        left_out=len(all_found) - len(found),
        not_understood=tuple(reader.left_out.values()),
        answered_from=min(times),
        answered_until=max(times),
        versions=_versions(found),
        wanted=wanted,
        log=reader.places,
        columns=tuple(columns),
        exported_at=datetime.now(UTC),
        bascule=own_version(),
    )
    beside = target.with_name(target.name + LINEAGE_SUFFIX)
    _write(beside, msgspec.json.format(msgspec.json.encode(lineage)) + b"\n")
    return lineage


def _require_place(target: Path) -> None:
    """Find out before the work whether there is where to write."""
    why = ""
    if not target.parent.is_dir():
        why = f"there is no folder {target.parent}"
    elif target.is_dir():
        why = "it is a folder: name a file"
    elif not os.access(target if target.exists() else target.parent, os.W_OK):
        why = "permission denied"
    if why:
        raise InvalidArgumentError(f"{target} cannot be written: {why}")


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise InvalidArgumentError(f"{file} cannot be written: {error.strerror}") from error


def _is_kept(prediction: Prediction) -> bool:
    tensors = prediction.head.inputs
    return bool(tensors) and all(tensor.kept in {"full", "redacted"} for tensor in tensors)


def _versions(found: Sequence[Prediction]) -> tuple[ExportedVersion, ...]:
    counts = Counter(
        (one.source.spec.model, one.source.spec.version, one.source.spec.digest,
         one.source.served.fingerprint)
        for one in found
    )  # fmt: skip
    return tuple(
        ExportedVersion(
            model=model, version=version, digest=digest, fingerprint=print_, predictions=count
        )
        for (model, version, digest, print_), count in sorted(counts.items())
    )


def _columns(found: Sequence[Prediction]) -> dict[str, Array]:
    """Join the rows of all predictions, column by column."""
    rows = [prediction.head.rows for prediction in found]
    keys = zip(
        *(
            (one.head.id, answered_at(one).isoformat(), one.source.spec.model,
             one.source.spec.version)
            for one in found
        ),
        strict=True,
    )  # fmt: skip
    named = zip(KEYS, keys, strict=True)
    columns: dict[str, Array] = {key: np.repeat(np.asarray(each), rows) for key, each in named}
    for role in ("input", "output"):
        for name in _names(found, role):
            columns[f"{role}.{name}"] = _joined(found, role, name)
    return columns


def _names(found: Sequence[Prediction], role: str) -> list[str]:
    named = [getattr(prediction.head, f"{role}s") for prediction in found]
    kept = [{tensor.name for tensor in tensors if tensor.kept == "full"} for tensors in named]
    everywhere = set.intersection(*kept)
    return [tensor.name for tensor in named[0] if tensor.name in everywhere]


def _joined(found: Sequence[Prediction], role: str, name: str) -> Array:
    parts: list[Array] = []
    for prediction in found:
        array = prediction.tensor(name, is_output=role == "output")
        if array is None:
            raise InvalidArgumentError(f"{role} '{name}' of {prediction.head.id} is not kept")
        has_rows = prediction.source.served.max_batch_rows > 0
        parts.append(array if has_rows else array[np.newaxis])
    try:
        return _as_texts(np.concatenate(parts))
    except ValueError as error:
        raise InvalidArgumentError(
            f"{role} '{name}' has rows of different shapes: export less at a time, with --model "
            "MODEL:VERSION, --since and --until"
        ) from error


def _as_texts(array: Array) -> Array:
    """Return elements of BYTES as texts; what is none shows its bytes as Python writes them."""
    if array.dtype != object:
        return array
    texts: Array = np.empty(array.size, dtype=object)
    texts[:] = [
        one.decode(errors="backslashreplace") if isinstance(one, bytes) else one
        for one in array.ravel().tolist()
    ]
    return texts.reshape(array.shape)


def _npz(columns: Mapping[str, Array]) -> bytes:
    stream = io.BytesIO()
    named: dict[str, Any] = {name: _storable(array) for name, array in columns.items()}
    np.savez_compressed(stream, **named)
    return stream.getvalue()


class _Lines:
    """Takes the lines of a table and ends them as files here do.

    A text is quoted if it has one of the characters that end lines, and readers take a bare
    carriage return for an end, too.
    """

    END: Final = "\r\n"

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line.removesuffix(self.END))


def _csv(columns: Mapping[str, Array]) -> bytes:
    sink = _Lines()
    writer = csv.writer(sink, lineterminator=_Lines.END)
    flat = {name: array for key, table in columns.items() for name, array in _spread(key, table)}
    writer.writerow(flat)
    writer.writerows(zip(*(array.tolist() for array in flat.values()), strict=True))
    return "".join(f"{line}\n" for line in sink.lines).encode()


def _spread(name: str, array: Array) -> Iterator[tuple[str, Array]]:
    table = array.reshape(len(array), -1)
    if table.shape[1] == 1:
        yield name, table[:, 0]
        return
    yield from ((f"{name}_{index}", table[:, index]) for index in range(table.shape[1]))


def _parquet(columns: Mapping[str, Array]) -> bytes:
    try:
        import pyarrow as pa  # noqa: PLC0415  an extra: only who wants Parquet needs it
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise InvalidArgumentError(
            "Parquet needs pyarrow: install bascule[parquet], or export to .csv or .npz"
        ) from error
    stream = io.BytesIO()
    table = pa.table({name: _arrow(pa, array) for name, array in columns.items()})
    parquet.write_table(table, stream)
    return stream.getvalue()


def _arrow(pa: Any, array: Array) -> Any:  # noqa: ANN401  pyarrow has no types
    is_text = array.dtype == object  # not numpy's own: those are as long as the longest of them
    table = (array if is_text else _storable(array)).reshape(len(array), prod(array.shape[1:]))
    flat = pa.array(table.ravel(), pa.string() if is_text else None)
    if table.shape[1] == 1:
        return flat
    if not table.size:
        return pa.array([[] for _ in table], pa.list_(flat.type))
    return pa.FixedSizeListArray.from_arrays(flat, table.shape[1])


def _storable(array: Array) -> Array:
    """Return an array of a dtype that others know: BF16 as FP32, texts as texts.

    Raises:
        InvalidArgumentError: Its texts would take too much: each takes as much as the longest.
    """
    if array.dtype != object:
        is_strange = is_float(array.dtype) and array.dtype.kind != "f"
        return array.astype(np.float32) if is_strange else array
    longest = max(map(len, array.ravel().tolist()), default=0)
    size_bytes = array.size * longest * np.dtype("U1").itemsize
    if size_bytes > MAX_TEXT_BYTES:
        raise InvalidArgumentError(
            f"{array.size:,} texts of which the longest has {longest:,} characters would take "
            f"{size_bytes:,} bytes in .npz, at most {MAX_TEXT_BYTES:,}: export to .parquet or .csv"
        )
    return array.astype(str)


WRITERS: Final[Mapping[str, Callable[[Mapping[str, Array]], bytes]]] = MappingProxyType(
    {".npz": _npz, ".csv": _csv, ".parquet": _parquet}
)
