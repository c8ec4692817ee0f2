"""`bascule drift`: learn a reference from rows, and say whether other rows are still like it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from runtimes.bounded_file import read_bounded
from runtimes.errors import InvalidArgumentError
from serving.cli.data_rows import SUFFIXES, Columns, read_columns
from serving.cli.drift_live import ShownByDefault, ack, show
from serving.cli.render import console, print_json
from serving.cli.tables import plain_pairs
from serving.monitor.drift.alert import DriftAlert, alert_of
from serving.monitor.drift.calibration import FalseAlarms
from serving.monitor.drift.columns import Role
from serving.monitor.drift.detector import Detector
from serving.monitor.drift.latch import Latch
from serving.monitor.drift.learning import Tensor, learn_tensors
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.severity import cap_of
from serving.monitor.drift.storage import MAX_BYTES, from_bytes, to_bytes
from serving.registry.bundles.bundle import read_bundle

PORTION_ROWS: Final = 1024
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    drift = typer.Typer(
        cls=ShownByDefault,
        help="Say whether rows are still as those of a reference: those of a model that is served "
        "(bascule drift MODEL), or of a file.",
        epilog="Examples: bascule drift fraud · bascule drift check m-1 today.csv",
    )
    drift.command(
        "show",
        epilog="Examples: bascule drift fraud · bascule drift fraud --watch · "
        "bascule drift fraud --html drift.html",
    )(show)
    drift.command("ack", epilog="Example: bascule drift ack fraud --reason 'campaign began'")(ack)
    drift.command(
        "learn",
        epilog="Example: bascule drift learn training.csv --in-order -o m.drift, then "
        "bascule pack model.onnx --name m --version 1 --reference m.drift",
    )(learn)
    drift.command(
        "check",
        epilog="Examples: bascule drift check m.drift today.csv · bascule drift check "
        "m-1/ today.npz --json",
    )(check)
    app.add_typer(drift, name="drift")


def learn(
    rows: Annotated[Path, typer.Argument(help=".csv, .parquet or .npz: a tensor each.")],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The profile, by custom a .drift file.")
    ],
    outputs: Annotated[
        str, typer.Option(help="Which tensors the model gives, with commas between; not inputs.")
    ] = "",
    in_order: Annotated[
        bool,
        typer.Option(
            "--in-order", help="Rows are in the order of time: correlated traffic is allowed for."
        ),
    ] = False,
    false_alarms: Annotated[
        float,
        typer.Option(min=0.0001, max=0.5, help="Probability of one in 10,000 rows like these."),
    ] = 0.05,
    as_json: Json = False,
) -> None:
    """Learn what rows look like, and when others are so different that someone should know."""
    tensors = read_columns(rows)
    given = {name.strip() for name in outputs.split(",") if name.strip()}
    unknown = sorted(given - set(tensors))
    if unknown:
        raise InvalidArgumentError(
            f"{rows} has no {unknown[0]!r} for --outputs: it has {', '.join(tensors)}"
        )
    profile = learn_tensors(
        _told_apart(tensors, given),
        is_ordered=in_order,
        allowed=FalseAlarms(probability=false_alarms),
    )
    try:
        output.write_bytes(to_bytes(profile))
    except OSError as error:
        raise InvalidArgumentError(f"{output} cannot be written: {error.strerror}") from error
    facts = _facts(profile)
    if as_json:
        print_json({**facts, "file": str(output)})
        return
    table = plain_pairs()
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), str(value))
    console().print(table)


def check(
    reference: Annotated[
        Path, typer.Argument(help="A profile of `drift learn`, or a bundle with its --reference.")
    ],
    rows: Annotated[Path, typer.Argument(help=".csv, .parquet or .npz, in the order of time.")],
    *,
    as_json: Json = False,
) -> None:
    """Watch rows as a monitor would, and print its alarms, each change once."""
    profile = read_profile(reference)
    tensors = read_columns(rows)
    missing = [r.tensor for r in profile.reductions if r.tensor not in tensors]
    if missing:
        hint = "" if rows.suffix == ".npz" else "; a column is a tensor here: a matrix needs .npz"
        raise InvalidArgumentError(
            f"{rows} has no {missing[0]!r}, which the reference has: give every tensor of it{hint}"
        )
    count = len(next(iter(tensors.values())))
    alerts = list(_alerts(profile, tensors, count))
    latch = Latch()
    if as_json:
        print_json(
            {"rows": count, **_facts(profile), "alarms": [alert.to_json() for alert in alerts]}
        )
        return
    for alert in (alert for alert in alerts if latch.is_news(alert, 0.0)):
        began = f"row {alert.at_row - alert.window_rows:,}"
        console().print(alert.text(reference.stem, since=began))
    expected = f"expected without any change: 1 alarm per {profile.allowed.mean_rows_between:,.0f}"
    console().print(f"{len(alerts)} alarms in {count:,} rows; {expected} rows")


def read_profile(place: Path) -> Profile:
    """Read a profile from its own file or a bundle; learn it where a bundle has the rows."""
    file = place
    if place.is_dir():
        manifest = read_bundle(place).manifest
        file = place / manifest.reference_file
        if not manifest.reference_file:
            raise InvalidArgumentError(
                f"the bundle {place} has no reference: pack it again with --reference"
            )
        if file.suffix.lower() in SUFFIXES:
            given = {spec.name for spec in manifest.outputs}
            return learn_tensors(_told_apart(read_columns(file), given), is_ordered=False)
    try:
        return from_bytes(read_bounded(file, MAX_BYTES))
    except OSError as error:
        raise InvalidArgumentError(f"{file} cannot be read: {error.strerror}") from error


def _told_apart(columns: Columns, outputs: set[str]) -> list[Tensor]:
    return [
        Tensor(name=name, role=Role.OUTPUT if name in outputs else Role.INPUT, values=values)
        for name, values in columns.items()
    ]


def _alerts(profile: Profile, tensors: Columns, count: int) -> Iterator[DriftAlert]:
    detector, encoder = Detector(profile), profile.encoder
    for begin in range(0, count, PORTION_ROWS):
        part = {name: values[begin : begin + PORTION_ROWS] for name, values in tensors.items()}
        encoded = encoder.encode(profile.columns_of(part))
        for alarm in detector.push(encoder.blocks(encoded, profile.digest)):
            yield alert_of(profile, encoder, alarm)


def _facts(profile: Profile) -> dict[str, object]:
    cap, reason = cap_of(profile)
    return {
        "digest": profile.digest,
        "reference_rows": profile.baseline.rows,
        "columns": len(profile.columns),
        "components": len(profile.encoder.components),
        "calibration": profile.assumption.value,
        "autocorrelation_time": round(profile.autocorrelation_time, 2),
        "threshold": round(profile.calibration.threshold, 3),
        "rows_between_false_alarms": round(profile.allowed.mean_rows_between),
        "most_severe": f"{cap.word}: {reason}" if reason else cap.word,
    }
