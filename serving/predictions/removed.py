"""Pure: which predictions went with a segment that was removed before its time."""

from collections import Counter
from typing import Any

import msgspec

from serving.ids import VersionKey
from serving.predictions.record import PREDICTION, SOURCE
from serving.predictions.segment import read_frames
from serving.wire.tensors import Buffer


class _Key(msgspec.Struct, frozen=True):
    model: str
    version: int


class _Source(msgspec.Struct, frozen=True):
    number: int
    spec: _Key


class _Prediction(msgspec.Struct, frozen=True):
    source: int


def count_predictions(content: Buffer) -> Counter[VersionKey]:
    """Count a segment's predictions by version; what cannot be read is left out."""
    keys: dict[int, VersionKey] = {}
    numbers: Counter[int] = Counter()
    for frame in read_frames(content):
        if frame.kind == SOURCE and (source := _read(frame.head, _Source)) is not None:
            key = source.spec
            keys[source.number] = VersionKey(key.model, key.version)
        elif frame.kind == PREDICTION and (one := _read(frame.head, _Prediction)) is not None:
            numbers[one.source] += 1
    counted: Counter[VersionKey] = Counter()
    for number, count in numbers.items():
        if number in keys:
            counted[keys[number]] += count
    return counted


def _read(head: memoryview, kind: Any) -> Any:  # noqa: ANN401  a record of that kind
    try:
        return msgspec.json.decode(head, type=kind)
    except msgspec.DecodeError:
        return None
