"""A bare worker that logs its predictions, and what it has logged."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving.predictions.order import LogOrder, encode_order
from serving.predictions.record import Prediction, read_predictions
from tests.fakes.worker_process import WorkerProcess, running_worker, wait_until

PARAMETER = "bascule-prediction-id"


@contextmanager
def logging_worker(folder: Path, **order: Any) -> Iterator[tuple[WorkerProcess, Path]]:  # noqa: ANN401  fields of LogOrder
    """Start a worker whose log lies in a folder of its own; yields both."""
    place = folder / "log"
    text = encode_order(LogOrder(folder=str(place), **order))
    with running_worker(folder, "--prediction-log", text) as worker:
        yield worker, place


def logged(place: Path) -> list[Prediction]:
    """Return all whole records of a folder."""
    return [
        prediction
        for path in sorted(place.glob("*-*"))
        for prediction in read_predictions(path.read_bytes(), path.name)
    ]


def logged_ids(place: Path, ids: Sequence[str]) -> dict[str, Prediction]:
    """Wait until predictions are in the log, and return all that are there by id."""
    wait_until(
        lambda: {found.head.id for found in logged(place)} >= set(ids), f"{len(ids)} records"
    )
    return {found.head.id: found for found in logged(place)}
