"""Which class a label means: by its name, or by its number where it has another name."""

import math

import pytest

from serving.predictions.labels.outcomes import class_index

INDICES = {"cat": 0, "dog": 1, "2": 2}


@pytest.mark.parametrize(
    ("name", "index"),
    [("dog", 1), ("2", 2), ("1", 1), ("01", 1), ("0", 0), ("0000000001", 1), ("00000000001", 1)],
)
def test_a_class_is_found(name: str, index: int) -> None:
    """Zeros in front say nothing, however many they are."""
    assert class_index(name, INDICES) == index


@pytest.mark.parametrize("name", ["bird", "3", "-1", "1.0", "", "00000000012", "1234567890"])
def test_what_is_no_class_has_no_index(name: str) -> None:
    """No number is cut off until it is one."""
    assert math.isnan(class_index(name, INDICES))
