"""Pure: puts the batch of a logged prediction together again, as it ran."""

from collections.abc import Sequence

import numpy as np

from runtimes.contract import Array
from serving.predictions.reading import Found
from serving.predictions.record import Prediction
from serving.wire.padding_fit import fit_padding


def feeds_of(found: Found) -> list[Array | None]:
    """Put the whole batch together as it ran."""
    prediction = found.prediction
    served, place = prediction.source.served, prediction.head.batch
    by_index = {one.head.batch.index: one for one in found.company if _has_inputs(one)}
    padding = fit_padding(prediction.source.spec.policy.padding, served)
    padded = {one.place: one for one in padding.inputs} if padding and place.padded_length else {}
    feeds: list[Array | None] = []
    for index, spec in enumerate(served.inputs):
        own = prediction.tensor(spec.name)
        if own is None:
            feeds.append(None)
            continue
        if not served.max_batch_rows or not place.number:
            feeds.append(_aligned(own))
            continue
        parts = _rows_of(spec.name, by_index, place.calls)
        if (one := padded.get(index)) is not None:
            own = one.joined([own], place.padded_length)
            parts = [(row, one.joined([array], place.padded_length)) for row, array in parts]
        feeds.append(_filled(parts, own, prediction, place.rows))
    return feeds


def own_outputs(prediction: Prediction, results: Sequence[Array]) -> list[Array]:
    """Return what a call gets of a batch's results: its own rows, in its own length."""
    head, served = prediction.head, prediction.source.served
    if not served.max_batch_rows:
        return list(results)
    rows = slice(head.batch.first_row, head.batch.first_row + head.rows)
    own = [result[rows] for result in results]
    padding = fit_padding(prediction.source.spec.policy.padding, served)
    if padding is None or not head.batch.padded_length:
        return own
    shapes = {tensor.name: tensor.shape for tensor in head.inputs}
    return padding.cut(own, padding.length([shapes.get(spec.name) for spec in served.inputs]))


def _rows_of(name: str, by_index: dict[int, Prediction], calls: int) -> list[tuple[int, Array]]:
    parts = []
    for index in range(calls):
        one = by_index.get(index)
        array = None if one is None else one.tensor(name)
        if one is not None and array is not None:
            parts.append((one.head.batch.first_row, array))
    return parts


def _filled(
    parts: Sequence[tuple[int, Array]], own: Array, prediction: Prediction, rows: int
) -> Array:
    """Lay rows in their places; the call's own stand where others' are not known."""
    batch = np.take(own, np.arange(rows) % max(len(own), 1), axis=0)
    for first_row, array in (*parts, (prediction.head.batch.first_row, own)):
        batch[first_row : first_row + len(array)] = array
    return _aligned(batch)


def _aligned(array: Array) -> Array:
    return np.require(array, requirements=["C", "A"])


def _has_inputs(prediction: Prediction) -> bool:
    return all(tensor.kept == "full" for tensor in prediction.head.inputs)


def batch_text(found: Found) -> str:
    """Say what ran together, for people."""
    batch = found.prediction.head.batch
    if not batch.number:
        return "answered without a batch (a kept answer)"
    known = sum(_has_inputs(one) for one in found.company)
    rest = "" if known == batch.calls else f", the rows of {batch.calls - known} calls unknown"
    return f"{batch.rows} rows of {batch.calls} calls{rest}"
