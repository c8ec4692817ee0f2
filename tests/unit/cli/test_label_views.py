"""What `bascule labels` shows says what it was not made of."""

from io import StringIO

import pytest
from rich.console import Console, RenderableType

from serving.cli.label_views import forecast_view, performance_view, suspects_view
from serving.predictions.labels.book import Performance
from serving.predictions.labels.forecast import ModelForecast
from serving.predictions.labels.review_queue import SuspectList


def shown(view: RenderableType) -> str:
    """What a terminal has."""
    text = StringIO()
    Console(file=text, width=200, highlight=False).print(view)
    return text.getvalue()


def performance(*, outside_rows: int, is_cut: bool) -> str:
    """What is shown of a model's versions."""
    found = Performance(
        model="m", versions=(), outside_rows=outside_rows, is_cut=is_cut, troubles={"1": "why"}
    )
    return shown(performance_view(found))


def test_labels_outside_of_what_was_read_are_told_beside_figures() -> None:
    """They do not count in them; where there are none, nothing is said."""
    cut, whole = performance(outside_rows=7, is_cut=True), performance(outside_rows=0, is_cut=False)

    assert "7 labelled rows do not count: their prediction is outside of what was read" in cut
    assert "of older predictions only those with labels were read: --limit, --since" in cut
    assert whole == "m:1: why\n"


@pytest.mark.parametrize("is_cut", [True, False])
def test_lists_and_estimates_say_that_older_predictions_were_not_read(*, is_cut: bool) -> None:
    """A label that looks wrong may be among those."""
    views = (
        suspects_view(SuspectList(model="m", versions=(), is_cut=is_cut, troubles={})),
        forecast_view(ModelForecast(model="m", versions=(), is_cut=is_cut, troubles={})),
    )

    assert {"only the newest predictions were read" in shown(view) for view in views} == {is_cut}
