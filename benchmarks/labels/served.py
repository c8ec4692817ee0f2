"""Serve a model, ask it, post labels some of which are wrong, and read the list of suspects."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.http as triton_http

from benchmarks.instance import Instance
from benchmarks.labels.training import FloatArray, IntArray, Softmax

PARAMETER = "bascule-prediction-id"
BATCH_ROWS = 64
POSTED = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Half:
    """Rows that a model has not learnt from."""

    model: str
    trained: Softmax
    rows: FloatArray
    classes: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What was answered: one element a row."""

    ids: list[str]
    row: list[int]
    scores: FloatArray


def ask(instance: Instance, half: Half) -> Answered:
    """Ask for all rows in batches."""
    ids: list[str] = []
    row: list[int] = []
    scores = []
    with triton_http.InferenceServerClient(instance.http) as client:
        for at in range(0, len(half.rows), BATCH_ROWS):
            values = half.rows[at : at + BATCH_ROWS].astype(np.float32)
            tensor = triton_http.InferInput("x", list(values.shape), "FP32")
            tensor.set_data_from_numpy(values)
            reply: Any = client.infer(half.model, [tensor])
            ids += [str(reply.get_response()["parameters"][PARAMETER])] * len(values)
            row += range(len(values))
            scores.append(reply.as_numpy("p").astype(np.float64))
    return Answered(ids=ids, row=row, scores=np.concatenate(scores))


def post(instance: Instance, half: Half, answered: Answered, given: IntArray, file: Path) -> None:
    """Post labels by the command."""
    labels = [
        {"prediction_id": named, "row": row, "label": int(label), "source": "benchmark"}
        for named, row, label in zip(answered.ids, answered.row, given, strict=True)
    ]
    file.write_text(json.dumps(labels))
    instance.bascule("labels", "post", half.model, str(file), "--json")


def listed(instance: Instance, half: Half, answered: Answered) -> list[int]:
    """Read the list of suspects by the command: indices of rows, the most likely first."""
    text = instance.bascule("labels", "suspects", half.model, "--show", str(POSTED), "--json")
    places = {key: at for at, key in enumerate(zip(answered.ids, answered.row, strict=True))}
    return list(_places(json.loads(text), places))


def _places(found: Any, places: dict[tuple[str, int], int]) -> Iterator[int]:
    for version in found["versions"]:
        for one in version["suspects"]:
            yield places[one["prediction_id"], one["row"]]
