"""`bascule labels`: say what was true of predictions, and see how good versions were."""

from contextlib import closing
from typing import Annotated

import typer

from serving.cli.json_flag import Json
from serving.cli.label_files import read_label_posts
from serving.cli.label_options import Most, Source, Target, wanted_labels
from serving.cli.label_review import add_review_commands
from serving.cli.label_views import performance_view, status_view
from serving.cli.listeners import Url, listeners
from serving.cli.log_access import Place, Since, Until, log_places, tell_left_out
from serving.cli.predict_http import HttpClient
from serving.cli.render import console, print_json
from serving.cli.targets import named_target
from serving.clock import utc_s
from serving.predictions.labels.book import LabelBook, cut_of
from serving.predictions.labels.joining import MAX_PREDICTIONS


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    labels = typer.Typer(
        no_args_is_help=True, help="What was true of predictions, and what that says."
    )
    labels.command(epilog="Examples: bascule labels post fraud labels.csv · … labels.json")(post)
    labels.command(epilog="Example: bascule labels status fraud")(status)
    labels.command(
        epilog="Examples: bascule labels performance fraud · … fraud:3 --window 1d · "
        "… fraud --window 500 --json"
    )(performance)
    add_review_commands(labels)
    app.add_typer(labels, name="labels", epilog="Example: bascule labels performance fraud")


def post(
    target: Target,
    file: Annotated[
        str, typer.Argument(metavar="FILE|-", help="Labels: .json (a list), .jsonl or .csv.")
    ],
    *,
    url: Url = None,
    timeout_s: Annotated[float, typer.Option(min=0.001, help="Longest wait, seconds.")] = 60.0,
    as_json: Json = False,
) -> None:
    """Post labels; posting them again changes nothing.

    Each has a prediction_id (the reply's bascule-prediction-id), a label, and perhaps row,
    label_time, source and weight.
    """
    model, version = named_target(target)
    with closing(HttpClient(listeners(url).http, timeout_s)) as client:
        count = sum(client.post_labels(model, version, body) for body in read_label_posts(file))
    if as_json:
        print_json({"labels": count})
    else:
        typer.echo(f"{count} labels of {target} are kept (bascule labels status {model})")


def status(  # noqa: PLR0913  one parameter for each flag
    target: Target,
    *,
    source: Source = None,
    since: Since = "",
    until: Until = "",
    most: Most = MAX_PREDICTIONS,
    place: Place = "",
    as_json: Json = False,
) -> None:
    """Show how many labels came, how late, and which answers have none."""
    wanted = wanted_labels(target, source, since, until, most)
    book = LabelBook(*log_places(place))
    found = book.status(wanted, utc_s())
    tell_left_out(book.predictions)
    if as_json:
        print_json(found)
    else:
        console().print(status_view(found))


def performance(  # noqa: PLR0913  one parameter for each flag
    target: Target,
    *,
    window: Annotated[str, typer.Option(help="Cut by time (30m, 1h, 1d) or by rows (500).")] = "",
    source: Source = None,
    since: Since = "",
    until: Until = "",
    most: Most = MAX_PREDICTIONS,
    place: Place = "",
    as_json: Json = False,
) -> None:
    """Show how good versions were, with intervals, and whether one has become worse."""
    wanted = wanted_labels(target, source, since, until, most)
    book = LabelBook(*log_places(place))
    found = book.performance(wanted, cut_of(window), utc_s())
    tell_left_out(book.predictions)
    if as_json:
        print_json(found)
    else:
        console().print(performance_view(found))
