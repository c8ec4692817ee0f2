"""`bascule log`: the predictions that were kept."""

from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.text import Text

from runtimes.contract import Array
from serving.cli.json_flag import Json
from serving.cli.log_access import (
    Place,
    Since,
    Target,
    Until,
    log_filter,
    opened_log,
    tell_left_out,
)
from serving.cli.render import console, duration_text, print_json, size_text
from serving.cli.tables import plain_pairs, plain_table
from serving.errors import NotFoundError
from serving.predictions.exporting import export_predictions
from serving.predictions.reading import Found, answered_at
from serving.predictions.record import Prediction, PredictionHead, TensorHead, as_written

MAX_VALUES = 8


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    log = typer.Typer(no_args_is_help=True, help="The predictions that were kept.")
    log.command("list", epilog="Example: bascule log list --model resnet --limit 20")(list_log)
    log.command(epilog="Example: bascule log show 0198c1de-7d2c-7001-9c1e-5f0f6f1d2a3b")(show)
    log.command(epilog="Example: bascule log export train.parquet --model resnet:3")(export)
    app.add_typer(log, name="log", epilog="Example: bascule log list --limit 5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A record as `--json` prints it."""

    answered_at: datetime
    model: str
    version: int
    digest: str
    fingerprint: str
    device: str
    threads: int
    worker: str
    record: PredictionHead


def list_log(
    *,
    target: Target = "",
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    place: Place = "",
    as_json: Json = False,
) -> None:
    """Show the newest predictions: who answered, in which batch, how long it took."""
    reader, wanted = opened_log(place), log_filter(target, since, until)
    found = list(islice(reader.newest(wanted), limit))
    tell_left_out(reader)
    if as_json:
        print_json([_shown(prediction) for prediction in found])
        return
    table = plain_table(
        ("id", "answered (UTC)", "version", "rows", "batch", "queue", "run", "route")
    )
    for prediction in found:
        head, spec = prediction.head, prediction.source.spec
        batch = head.batch
        table.add_row(
            head.id,
            f"{answered_at(prediction):%Y-%m-%d %H:%M:%S}",
            Text(f"{spec.model}:{spec.version}"),
            str(head.rows),
            f"{batch.index + 1} of {batch.calls}" if batch.number else "-",
            duration_text(head.phases_ns.queue / 1e9),
            duration_text(head.phases_ns.compute_infer / 1e9),
            head.route,
        )
    console().print(table)


def show(
    prediction_id: Annotated[str, typer.Argument(metavar="PREDICTION_ID", help="The id.")],
    *,
    place: Place = "",
    as_json: Json = False,
) -> None:
    """Show all that is known of one prediction."""
    reader = opened_log(place)
    found = reader.find(prediction_id)
    tell_left_out(reader)
    if found is None:
        raise NotFoundError(f"prediction {prediction_id} is not in {' or '.join(reader.places)}")
    if as_json:
        print_json(_shown(found.prediction))
        return
    table = plain_pairs()
    for name, value in _lines(found).items():
        table.add_row(name, Text(value))
    console().print(table)


def export(
    target_file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What to write: .parquet, .csv or .npz.")
    ],
    *,
    target: Target = "",
    since: Since = "",
    until: Until = "",
    place: Place = "",
    as_json: Json = False,
) -> None:
    """Write inputs and outputs as a table, one line a row, and its lineage beside it."""
    reader, wanted = opened_log(place), log_filter(target, since, until)
    lineage = export_predictions(reader, wanted, target_file)
    tell_left_out(reader)
    if as_json:
        print_json(lineage)
        return
    typer.echo(
        f"{target_file}: {lineage.rows} rows of {lineage.predictions} predictions, "
        f"{size_text(lineage.size_bytes)}, sha256 {lineage.sha256[:12]}; lineage beside it"
    )
    if lineage.left_out:
        typer.echo(f"left out: {lineage.left_out} predictions whose inputs are not kept")


def _shown(prediction: Prediction) -> Shown:
    source = prediction.source
    return Shown(
        answered_at=answered_at(prediction),
        model=source.spec.model,
        version=source.spec.version,
        digest=source.spec.digest,
        fingerprint=source.served.fingerprint,
        device=source.served.device,
        threads=source.served.threads,
        worker=source.worker,
        record=as_written(prediction.head),
    )


def _lines(found: Found) -> dict[str, str]:
    prediction = found.prediction
    head, source = prediction.head, prediction.source
    served, batch, phases = source.served, head.batch, head.phases_ns
    lines = {
        "prediction": head.id,
        "request id": head.request_id or "-",
        "answered": f"{answered_at(prediction):%Y-%m-%d %H:%M:%S.%f} UTC",
        "version": f"{source.spec.model}:{source.spec.version}  digest {source.spec.digest[:12]}",
        "ran": f"{served.device}, {served.threads} threads, worker {source.worker} "
        f"(pid {source.pid}), environment {served.fingerprint[:12] or 'not measured'}",
        "batch": f"call {batch.index + 1} of {batch.calls}, rows {batch.first_row} to "
        f"{batch.first_row + head.rows - 1} of {batch.rows}; {len(found.company)} calls of it "
        "are logged"
        if batch.number
        else "in none: kept answers or an ensemble's steps answered",
        "time": f"queue {duration_text(phases.queue / 1e9)}, input "
        f"{duration_text(phases.compute_input / 1e9)}, run "
        f"{duration_text(phases.compute_infer / 1e9)}, output "
        f"{duration_text(phases.compute_output / 1e9)}",
        "route": head.route + ("" if head.is_sent else ", nobody got the reply"),
    }
    if head.parameters:
        lines["parameters"] = str(head.parameters)
    for role, tensors in (("input", head.inputs), ("output", head.outputs)):
        for tensor in tensors:
            array = prediction.tensor(tensor.name, is_output=role == "output")
            lines[f"{role} {tensor.name}"] = _tensor_line(tensor, array)
    return lines


def _tensor_line(tensor: TensorHead, array: Array | None) -> str:
    shape = f"{tensor.datatype}{list(tensor.shape)}"
    if array is None:
        return f"{shape}  not kept ({tensor.kept}) {tensor.sha256[:12]}".rstrip()
    values = np.array2string(array.ravel()[:MAX_VALUES], precision=6, separator=", ")
    return f"{shape}  {values}{' …' if array.size > MAX_VALUES else ''}"
