"""The prediction log that a command asks: this instance's, or one that is named."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from runtimes.errors import InvalidArgumentError
from serving.errors import NotFoundError
from serving.ids import model_name, version_number
from serving.predictions.reading import Filter, PredictionReader
from serving.predictions.wanted import log_order
from serving.settings import load_settings

Place = Annotated[
    str,
    typer.Option(
        "--log",
        metavar="FOLDER|URL",
        help="Another log than this instance's (BASCULE_PREDICTION_LOG).",
    ),
]
Target = Annotated[
    str, typer.Option("--model", metavar="MODEL[:VERSION]", help="Only what this one answered.")
]
Since = Annotated[str, typer.Option(help="Answered from then on: 2026-05-01, 2026-05-01T12:30.")]
Until = Annotated[str, typer.Option(help="Answered before: a date or time, UTC unless it says so.")]


def opened_log(place: str = "") -> PredictionReader:
    """Return the log of a place, or of this instance.

    Raises:
        NotFoundError: This instance has none.
    """
    return PredictionReader(*log_places(place))


def log_places(place: str = "") -> tuple[str, ...]:
    """Return where the log of a place, or of this instance, lies.

    Raises:
        NotFoundError: This instance has none.
    """
    if place:
        return (place,)
    order = log_order(load_settings())
    if order is None:
        raise NotFoundError(
            "where predictions are logged was not said: name the folder or fsspec URL that the "
            "instance was started with (--prediction-log) by --log or BASCULE_PREDICTION_LOG; one "
            "that was started without logs none"
        )
    return order.folder, order.url


def tell_left_out(reader: PredictionReader) -> None:
    """Say on stderr what of the log could not be understood."""
    for told in reader.left_out.values():
        typer.echo(f"bascule: {told}", err=True)


def log_filter(target: str, since: str, until: str) -> Filter:
    """Read which records are wanted.

    Raises:
        InvalidArgumentError: A name, number or time is wrong.
    """
    name, colon, version = target.rpartition(":") if ":" in target else (target, "", "")
    return Filter(
        model=model_name(name) if name else "",
        version=version_number(version) if colon else None,
        since=_time(since),
        until=_time(until),
    )


def _time(text: str) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidArgumentError(
            f"'{text[:40]}' is no time: write 2026-05-01 or 2026-05-01T12:30"
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
