"""The classification extension's texts and order."""

import numpy as np
import pytest

from serving.wire.call import Array
from serving.wire.classification import classify


@pytest.mark.parametrize(
    ("array", "k", "batched", "expected"),
    [
        (np.array([[0.1, 0.9]], np.float32), 2, True, [["0.900000:1:dog", "0.100000:0:cat"]]),
        (np.array([[1, 3, 2], [9, 8, 7]]), 1, True, [["3:1:dog"], ["9:0:cat"]]),
        (np.array([5, 7], np.uint8), 9, False, ["7:1:dog", "5:0:cat"]),
        (np.array([2, 2, 2]), 3, False, ["2:0:cat", "2:1:dog", "2:2"]),
        (np.array([np.nan, 1.0, -np.inf]), 2, False, ["1.000000:1:dog", "nan:0:cat"]),
        (np.array(4.0), 1, False, ["4.000000:0:cat"]),
        (np.zeros((2, 0)), 3, True, [[], []]),
        (np.array([[[1, 4], [3, 2]]]), 2, True, [["4:1:dog", "3:2"]]),
    ],
    ids=["floats", "rows", "capped", "ties", "nan", "scalar", "empty", "dims"],
)
def test_best_classes(array: Array, k: int, batched: bool, expected: object) -> None:  # noqa: FBT001  a test's parameter
    """The largest values come first as value:index[:label], at most as many as there are."""
    assert classify(array, k, ("cat", "dog"), batched=batched).tolist() == expected
