"""`bascule labels suspects|accept|dismiss|estimate`: labels that look wrong, or are not there."""

from typing import Annotated

import typer

from serving.cli.admin_client import AdminClient
from serving.cli.json_flag import Json
from serving.cli.label_options import Most, Source, Target, wanted_labels
from serving.cli.label_views import forecast_view, suspects_view
from serving.cli.log_access import Place, Since, Until, log_places, tell_left_out
from serving.cli.render import console, print_json
from serving.cli.targets import named_target
from serving.clock import utc_s
from serving.ids import model_name
from serving.predictions.labels.book import LabelBook
from serving.predictions.labels.forecast import forecast_of
from serving.predictions.labels.joining import MAX_PREDICTIONS
from serving.predictions.labels.review_queue import suspect_list
from serving.predictions.labels.reviews import Reviews, Verdict
from serving.settings import load_settings

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model.")]
PredictionId = Annotated[str, typer.Argument(metavar="PREDICTION_ID", help="Of the label.")]
Row = Annotated[int, typer.Option(min=0, help="Of the request's rows.")]
Output = Annotated[str | None, typer.Option(help="As the label names it, if there are several.")]
Reason = Annotated[str, typer.Option(help="Why.")]


def add_review_commands(labels: typer.Typer) -> None:
    """Add the commands of this module."""
    labels.command(epilog="Examples: bascule labels suspects fraud · … fraud:3 --show 200 --json")(
        suspects
    )
    labels.command(epilog="Example: bascule labels accept fraud 0198c1de-… --row 3")(accept)
    labels.command(epilog="Example: bascule labels dismiss fraud 0198c1de-… --reason 'asked Ann'")(
        dismiss
    )
    labels.command(epilog="Example: bascule labels estimate fraud")(estimate)


def suspects(  # noqa: PLR0913  one parameter for each flag
    target: Target,
    *,
    show: Annotated[int, typer.Option(min=1, help="So many of each version.")] = 30,
    source: Source = None,
    since: Since = "",
    until: Until = "",
    most: Most = MAX_PREDICTIONS,
    place: Place = "",
    as_json: Json = False,
) -> None:
    """List labels that look wrong, the most likely first, with what the model said.

    By confident learning. Nothing is relabelled: look, then accept (it is wrong, and counts no more
    until another label is posted) or dismiss (it is right).
    """
    book, wanted = LabelBook(*log_places(place)), wanted_labels(target, source, since, until, most)
    reviews = Reviews(book.labels.reviews(wanted.predictions.model))
    found = suspect_list(book.joined(wanted, utc_s()), reviews, show)
    tell_left_out(book.predictions)
    if as_json:
        print_json(found)
    else:
        console().print(suspects_view(found))


def accept(
    model: Model,
    prediction_id: PredictionId,
    *,
    row: Row = 0,
    output: Output = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Say that a label is wrong: it does not count until another one is posted."""
    _decide(model, _body(prediction_id, row, output, "accept", reason), as_json=as_json)


def dismiss(
    model: Model,
    prediction_id: PredictionId,
    *,
    row: Row = 0,
    output: Output = None,
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Say that a label is right: it is not listed again."""
    _decide(model, _body(prediction_id, row, output, "dismiss", reason), as_json=as_json)


def estimate(
    target: Target,
    *,
    source: Source = None,
    most: Most = MAX_PREDICTIONS,
    place: Place = "",
    as_json: Json = False,
) -> None:
    """Estimate how good answers without labels are, or say why nobody can.

    Asks the running instance, which knows whether the data has alarms; with --log another log is
    read, and nobody is asked.
    """
    if place:
        wanted = wanted_labels(target, source, "", "", most)
        book = LabelBook(*log_places(place))
        joined = book.joined(wanted, utc_s())
        tell_left_out(book.predictions)
        found = forecast_of(joined, {}, "alarms of the data: no instance was asked")
    else:
        model, version = named_target(target)
        found = AdminClient(load_settings().admin_socket).label_estimate(model, version)
    if as_json:
        print_json(found)
    else:
        console().print(forecast_view(found))


def _body(
    prediction_id: str, row: int, output: str | None, verdict: Verdict, reason: str
) -> dict[str, object]:
    return {
        "prediction_id": prediction_id,
        "row": row,
        "output": output,
        "verdict": verdict,
        "reason": reason,
    }


def _decide(model: str, body: dict[str, object], *, as_json: bool) -> None:
    client = AdminClient(load_settings().admin_socket)
    review = client.review_label(model_name(model), body)
    if as_json:
        print_json(review)
        return
    what = "wrong: it counts no more" if review.verdict == "accept" else "right: it stays"
    typer.echo(f"label '{review.given}' of {review.prediction_id} row {review.row} is {what}")
