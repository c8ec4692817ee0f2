"""The classification extension: an output's k largest values instead of the tensor.

Each row of C elements becomes min(k, C) BYTES elements `value:index[:label]`, largest value first;
equal values keep their order, NaN comes last.
"""

import numpy as np

from serving.wire.call import Array


def classify(array: Array, k: int, labels: tuple[str, ...], *, batched: bool) -> Array:
    """Return the k best classes of every row.

    Args:
        array: Shape (rows, *dims) if `batched`, else any: one row. Numbers.
        k: How many, at least 1; capped at the number of classes.
        labels: Names by class index; missing ones leave out the third part.
        batched: Whether the first dimension is the batch.

    Returns:
        An object array of `str`, shape (rows, min(k, C)) or (min(k, C),).
    """
    rows = array.shape[0] if batched else 1
    table = array.reshape(rows, -1) if array.size else np.empty((rows, 0), array.dtype)
    best = min(k, table.shape[1])
    result = np.empty((rows, best), dtype=object)
    for row in range(rows):
        result[row, :] = [_text(table[row], index, labels) for index in _largest(table[row], best)]
    return result if batched else result[0]


def _largest(row: Array, best: int) -> list[int]:
    if row.dtype.kind == "f":
        row = np.where(np.isnan(row), -np.inf, row)
    # A stable sort of the reversed row, read backwards: descending, ties in their own order.
    order = row.size - 1 - np.argsort(row[::-1], kind="stable")[::-1]
    indexes: list[int] = order[:best].tolist()
    return indexes


def _text(row: Array, index: int, labels: tuple[str, ...]) -> str:
    value = f"{row[index]:f}" if row.dtype.kind == "f" else str(row[index])
    label = f":{labels[index]}" if index < len(labels) and labels[index] else ""
    return f"{value}:{index}{label}"
