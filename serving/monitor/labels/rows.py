"""Answered rows of one version with the labels that they have by now. Pure: arrays, no log."""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

Z: Final = 1.959963984540054
"""Of a normal distribution's middle 95 %."""


class Kind(StrEnum):
    """What is predicted."""

    CLASSES = "classification"
    NUMBER = "regression"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Every array has one element a row."""

    kind: Kind
    classes: tuple[str, ...]
    """Names, in the order of the scores' columns; empty for numbers."""
    ids: NDArray[np.object_]
    """Of the predictions."""
    row: IntArray
    """In its prediction."""
    answered_s: FloatArray
    """Since 1970."""
    predicted: FloatArray
    """The number, or the class's index."""
    given: FloatArray
    """The label likewise; NaN: there is none yet."""
    known_s: FloatArray
    """When the label was known, since 1970; NaN without one."""
    posted_s: FloatArray
    """When it was posted first; NaN without one."""
    weight: FloatArray
    scores: FloatArray | None = None
    """Probabilities, of shape (rows, classes); None: the model gives none."""

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.predicted)

    @property
    def is_labelled(self) -> BoolArray:
        """Which rows have a label."""
        return np.asarray(~np.isnan(self.given))

    @property
    def labelled(self) -> Self:
        """The rows that have a label."""
        return self.taken(np.flatnonzero(self.is_labelled))

    @property
    def unlabelled(self) -> Self:
        """The rows that have none yet."""
        return self.taken(np.flatnonzero(~self.is_labelled))

    @property
    def is_right(self) -> BoolArray:
        """Which labelled rows were classified as their label says."""
        return np.asarray(self.predicted == self.given)

    def taken(self, which: NDArray[Any] | slice) -> Self:
        """Return some rows."""
        changed: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            changed[field.name] = value[which] if isinstance(value, np.ndarray) else value
        return type(self)(**changed)

    def in_order_of_answers(self) -> Self:
        """Return the rows, the oldest answer first."""
        return self.taken(np.argsort(self.answered_s, kind="stable"))

    def in_order_of_labels(self) -> Self:
        """Return the rows, the earliest posted label first."""
        return self.taken(np.argsort(self.posted_s, kind="stable"))
