"""What versions have answered, as far as labels can be about it: compact, without inputs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.ids import VersionKey
from serving.predictions.labels.targets import roles_of
from serving.predictions.reading import Filter, PredictionReader
from serving.predictions.record import Prediction, Source
from serving.registry.version import VersionSpec

ROUTES: Final = frozenset({"chosen", "explicit"})
"""Copies for a candidate and steps of an ensemble have ids that no client was told."""
Table = NDArray[np.generic]


@dataclass(slots=True)
class Answers:
    """The answers of one version, prediction by prediction."""

    source: Source
    ids: list[str] = field(default_factory=list)
    row_counts: list[int] = field(default_factory=list)
    answered_s: list[float] = field(default_factory=list)
    tensors: dict[str, list[Table]] = field(default_factory=dict)
    """Outputs that labels could be about: one table of (rows, columns) for each prediction."""
    unkept: int = 0
    """Predictions of which such an output was not kept."""
    replaced_ids: set[str] = field(default_factory=set)
    """What other files answered that had the version's number before."""

    def add(self, prediction: Prediction) -> None:
        """Take the outputs of a prediction, if the same files answered it."""
        head, served = prediction.head, prediction.source.served
        if prediction.source.spec.digest != self.source.spec.digest:
            self.replaced_ids.add(head.id)
            return
        names = [name for name, role in roles_of(served).items() if role]
        found = {name: prediction.tensor(name, is_output=True) for name in names}
        if not found or any(array is None for array in found.values()):
            self.unkept += 1
            return
        rows = head.rows if served.max_batch_rows > 0 else 1
        self.ids.append(head.id)
        self.row_counts.append(rows)
        self.answered_s.append(head.time_ns / 1e9)
        for name, array in found.items():
            if array is not None:
                # A copy, so that the segment's other bytes can go.
                self.tensors.setdefault(name, []).append(array.reshape(rows, -1).copy())


def newest_answers(
    reader: PredictionReader, wanted: Filter, most: int
) -> tuple[dict[VersionKey, Answers], bool]:
    """Read the newest predictions that clients were given.

    Args:
        reader: The log.
        wanted: Which.
        most: At most so many.

    Returns:
        The answers of each version, and whether there are more than that.
    """
    found: dict[VersionKey, Answers] = {}
    told = (one for one in reader.newest(wanted) if one.head.route in ROUTES)
    count = add_answers(found, islice(told, most))
    return found, count >= most and next(told, None) is not None


def add_answers(found: dict[VersionKey, Answers], predictions: Iterable[Prediction]) -> int:
    """Take predictions that clients were given, the newest first; return how many those were."""
    count = 0
    for prediction in predictions:
        if prediction.head.route in ROUTES:
            source = prediction.source
            found.setdefault(source.spec.key, Answers(source)).add(prediction)
            count += 1
    return count


def class_names(spec: VersionSpec) -> Mapping[str, tuple[str, ...]]:
    """Read the class names that a configuration points to; a file that is gone names nothing."""
    return {one.output: _lines(spec.model_folder / one.file) for one in spec.policy.labels}


def joined_tables(tables: Iterable[Table]) -> Table:
    """Return all rows of an output as one table.

    Raises:
        ValueError: Their columns differ.
    """
    return np.concatenate(list(tables))


def _lines(file: Path) -> tuple[str, ...]:
    try:
        return tuple(file.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError):
        return ()
