"""`bascule metrics`: what `:8002/metrics` says, and what is made of it for others' tools."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from runtimes.bounded_file import read_bounded_text
from runtimes.errors import InvalidArgumentError
from serving.cli.json_flag import Json
from serving.cli.render import console, print_json
from serving.cli.tables import plain_table
from serving.monitor.alerting.rules_file import alerts
from serving.monitor.alerting.slo import DEFAULT, MAX_SLO_BYTES, Slo, read_slo
from serving.monitor.metric_list import all_metrics, haproxy_metrics, metrics_page
from serving.monitor.monitoring_files import board_files, prometheus_files

SloFile = Annotated[
    Path | None, typer.Option("--slo", metavar="FILE", help="What was promised: slo.yaml.")
]
Out = Annotated[
    Path | None,
    typer.Option("--output", "-o", "--out", metavar="DIR", help="Where the files are written."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        help="What :8002/metrics says, and rules and boards that are made of it.",
        no_args_is_help=True,
        epilog="Examples: bascule metrics list · bascule metrics rules --slo slo.yaml --out rules",
    )
    group.command("list", epilog="Example: bascule metrics list --json")(list_metrics)
    group.command(epilog="Example: bascule metrics rules --slo slo.yaml --out prometheus")(rules)
    group.command(epilog="Example: bascule metrics boards --out grafana")(boards)
    app.add_typer(group, name="metrics")


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
    table = plain_table(("metric", "kind", "labels", "meaning", "there"))
    for one in metrics:
        table.add_row(one.name, one.kind, " ".join(one.labels), one.help, one.when.value)
    console().print(table)


def rules(*, slo: SloFile = None, out: Out = None, as_json: Json = False) -> None:
    """List the alerts for Prometheus, or write its rules and an example of its configuration."""
    promised = _promised(slo)
    if out is not None:
        _write(out, prometheus_files(promised))
        return
    found = [*alerts(promised)]
    if as_json:
        print_json([asdict(one) for one in found])
        return
    table = plain_table(("alert", "severity", "holds for", "says"))
    for one in found:
        table.add_row(one.name, one.severity, one.after, one.summary)
    console().print(table)


def boards(*, out: Out = None, as_json: Json = False) -> None:
    """List the boards for Grafana, or write them as files that it imports."""
    files = board_files()
    if out is not None:
        _write(out, files)
    elif as_json:
        print_json(sorted(files))
    else:
        typer.echo("\n".join(sorted(files)))


def _promised(path: Path | None) -> Slo:
    if path is None:
        return DEFAULT
    try:
        return read_slo(read_bounded_text(path, MAX_SLO_BYTES))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error}") from error


def _write(folder: Path, files: Mapping[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
            typer.echo(str(folder / name))
    except OSError as error:
        raise InvalidArgumentError(f"{folder} cannot be written: {error.strerror}") from error
