"""Pure: rows that a model was made for → the draft of a data contract, as YAML.

Ranges are the 0.1 % and 99.9 % quantiles, widened by a tenth of what lies between; levels are those
that at least 0.1 % of the values have. A draft counts; it is for people to read and to activate.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import yaml

from runtimes.contract import Array
from runtimes.datatypes import DTYPES, Datatype

MIN_ROWS: Final = 100
"""With fewer rows nothing is said of ranges and levels."""
QUANTILES: Final = (0.001, 0.999)
WIDENED: Final = 0.1
MIN_LEVEL_SHARE: Final = 0.001
MAX_LEVELS: Final = 100
MAX_FEATURES: Final = 64
"""A wider matrix has one range for all of it."""
HEAD: Final = """\
# Drafted from {source}, {rows} rows. A draft counts what breaks it and refuses nothing:
# correct it, choose on_violation (reject, flag or count), and write status: active.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What is known of an input: a row of values for each row."""

    name: str
    values: Array
    datatype: Datatype | None = None
    """None: nobody said."""
    shape: tuple[int, ...] | None = None
    features: tuple[str, ...] = ()
    """Names of its columns, if they have some."""


def draft_contract(columns: Sequence[Column], source: str, model: str = "") -> str:
    """Write the draft.

    Args:
        columns: One for each input.
        source: Where the rows are from, for people.
        model: Its name; empty: not known.
    """
    rows = max((len(column.values) for column in columns), default=0)
    inputs: dict[str, Any] = {}
    features: dict[str, Any] = {}
    for column in columns:
        said: dict[str, Any] = {}
        if column.datatype is not None:
            said["dtype"] = str(column.datatype)
        if column.shape is not None:
            said["shape"] = list(column.shape)
        if _has_features(column):
            features |= _features(column)
        else:
            said |= _rules(column.values.reshape(len(column.values), -1), column.datatype)
        inputs[column.name] = said
    document: dict[str, Any] = {"contract": 1}
    if model:
        document["model"] = model
    document |= {"status": "draft", "inputs": inputs}
    if features:
        document["features"] = features
    text: str = yaml.safe_dump(
        document, sort_keys=False, default_flow_style=None, allow_unicode=True
    )
    return HEAD.format(source=source, rows=rows) + text


def _has_features(column: Column) -> bool:
    values = column.values
    return values.ndim == 2 and 1 < values.shape[1] <= MAX_FEATURES  # noqa: PLR2004  a matrix


def _features(column: Column) -> dict[str, Any]:
    count = column.values.shape[1]
    names = column.features or tuple(f"{column.name}_{place}" for place in range(count))
    return {
        name: {
            "input": column.name,
            "column": place,
            **_rules(column.values[:, place : place + 1], column.datatype),
        }
        for place, name in enumerate(names)
    }


def _rules(cells: Array, datatype: Datatype | None) -> dict[str, Any]:
    """Say what the values are like; `cells` has a row for each row."""
    is_float = cells.dtype.kind not in "biuO"
    null = np.isnan(cells.astype(np.float64)) if is_float else np.zeros(cells.shape, bool)
    null_rate = float(null.any(axis=1).mean()) if cells.size else 0.0
    said: dict[str, Any] = {}
    if len(cells) >= MIN_ROWS and not null.all():
        said = dict(_levels(cells) if cells.dtype == object else _range(cells[~null], datatype))
    if null_rate:
        said["max_null_rate"] = min(1.0, round(1.5 * null_rate + 0.005, 4))
    else:
        said["nullable"] = False
    said["on_violation"] = "count"
    return said


def _range(values: Array, datatype: Datatype | None) -> Mapping[str, Any]:
    if values.dtype == bool:
        return {}
    known = values[np.isfinite(values.astype(np.float64))].astype(np.float64)
    if not known.size:
        return {}
    low, high = (float(each) for each in np.quantile(known, QUANTILES))
    room = WIDENED * (high - low) or WIDENED * abs(high) or 1.0
    low, high = low - room, high + room
    if values.dtype.kind in "iu":
        info = np.iinfo(DTYPES[datatype] if datatype else values.dtype)
        return {
            "min": max(math.floor(low), int(info.min)),
            "max": min(math.ceil(high), int(info.max)),
        }
    return {"min": float(f"{low:.6g}"), "max": float(f"{high:.6g}")}


def _levels(cells: Array) -> Mapping[str, Any]:
    texts, counts = np.unique(cells.ravel().astype(str), return_counts=True)
    if len(texts) > MAX_LEVELS:
        longest = max(map(len, texts.tolist()))
        return {"max_len": math.ceil(longest * (1 + WIDENED))}
    least = MIN_LEVEL_SHARE * cells.size
    kept = [text for text, count in zip(texts.tolist(), counts, strict=True) if count >= least]
    return {"allowed": kept}
