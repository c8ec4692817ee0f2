"""Names and numbers that users write."""

import pytest

from runtimes.errors import InvalidArgumentError
from serving.ids import MAX_VERSION, version_number


@pytest.mark.parametrize("zeros", [0, 1, 20, 5000])
def test_zeros_before_a_version_change_nothing(zeros: int) -> None:
    """Neither what it is nor what it may be."""
    assert version_number("0" * zeros + "42") == 42
    assert version_number("0" * zeros + str(MAX_VERSION)) == MAX_VERSION
    with pytest.raises(InvalidArgumentError, match="invalid version"):
        version_number("0" * zeros + str(MAX_VERSION + 1))


@pytest.mark.parametrize("text", ["", "0", "00", "-1", "+1", "1.0", "²", " 1", "9" * 5000])
def test_what_is_no_version_is_refused(text: str) -> None:
    """In one sentence, without all of it."""
    with pytest.raises(InvalidArgumentError, match="a positive integer up to") as caught:
        version_number(text)
    assert len(caught.value.message) < 200
