"""How a window of rows is asked for, as a text from outside."""

import pytest

from runtimes.errors import InvalidArgumentError
from serving.monitor.labels.performance import Cut
from serving.predictions.labels.book import cut_of

DAY_S = 86_400


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("", Cut()),
        ("500", Cut(rows=500)),
        ("999999999", Cut(rows=999_999_999)),
        ("90s", Cut(seconds=90)),
        ("30m", Cut(seconds=1800)),
        ("1h", Cut(seconds=3600)),
        ("36500d", Cut(seconds=36_500 * DAY_S)),
    ],
)
def test_windows_are_rows_or_a_time(text: str, cut: Cut) -> None:
    """A number, or a number and a unit."""
    assert cut_of(text) == cut


@pytest.mark.parametrize(
    "text",
    ["0", "0d", "-1", "1.5", "d", "1w", "²", "36501d", "999999999d", "1234567890s", "9" * 5000],
)
def test_what_is_no_window_is_refused(text: str) -> None:
    """With what was expected: neither cut to fewer digits, nor beyond what a calendar has."""
    with pytest.raises(InvalidArgumentError, match=r"window.*9 digits and 36500 days at most"):
        cut_of(text)
