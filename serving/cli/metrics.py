"""`bascule metrics`: what `:8002/metrics` says."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from serving.cli.json_flag import Json
from serving.cli.render import console, print_json
from serving.monitor.metric_list import all_metrics, haproxy_metrics, metrics_page


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    metrics = typer.Typer(
        help="What :8002/metrics says.",
        no_args_is_help=True,
        epilog="Example: bascule metrics list",
    )
    metrics.command("list", epilog="Examples: bascule metrics list · bascule metrics list --json")(
        list_metrics
    )
    app.add_typer(metrics, name="metrics")


def list_metrics(
    *,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the page METRICS.md.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List every metric: kind, labels, meaning, and when it is there."""
    metrics = (*all_metrics(), *haproxy_metrics())
    if as_json:
        print_json([asdict(one) for one in metrics])
        return
    if markdown:
        typer.echo(metrics_page(), nl=False)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("metric", "kind", "labels", "meaning", "there"):
        table.add_column(column)
    for one in metrics:
        table.add_row(one.name, one.kind, " ".join(one.labels), one.help, one.when.value)
    console().print(table)
