"""`bascule reproduce`: does a version, or one prediction, come out here as it did?"""

from typing import Annotated, Final

import typer

from runtimes.devices import device as parse_device
from runtimes.errors import BasculeError, InvalidArgumentError
from serving.cli.bundle_target import bundle_folder, may_execute
from serving.cli.log_access import Place, opened_log
from serving.cli.prediction_replay import output_line, replay_prediction, show_replay
from serving.cli.render import print_json
from serving.cli.system_failure import system_failure_text
from serving.predictions.ids import is_prediction_id
from serving.registry.bundles.bundle import read_head
from serving.registry.bundles.reproduction import Replayer, Reproduction, Verdict
from serving.settings import load_settings

UNKNOWN: Final = Verdict.UNVERIFIABLE.exit_status


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Examples: bascule reproduce resnet-3 · bascule reproduce m:2 --threads 1 · "
        "bascule reproduce 0198c1de-7d2c-7001-9c1e-5f0f6f1d2a3b"
    )(reproduce)


def reproduce(
    target: Annotated[
        str,
        typer.Argument(metavar="BUNDLE|MODEL:VERSION|PREDICTION_ID", help="What to reproduce."),
    ],
    *,
    threads: Annotated[
        int, typer.Option(min=0, max=1024, help="Engine threads; 0: as recorded.")
    ] = 0,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="cpu or cuda; default: as recorded.")
    ] = "",
    place: Place = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Replay golden samples of a version, or a logged prediction, and explain what differs.

    Exit status 0: reproduced; 1: different; 2: nobody can tell.
    """
    try:
        if is_prediction_id(target):
            status = _prediction(target, device, place, threads=threads, as_json=as_json)
        else:
            status = _version(target, device, threads=threads, as_json=as_json)
    except BasculeError as error:  # 1 would say that it was run, and differs
        typer.echo(f"bascule: {error.message}", err=True)
        status = UNKNOWN
    except OSError as error:
        typer.echo(f"bascule: {system_failure_text(error)}", err=True)
        status = UNKNOWN
    raise typer.Exit(status)


def _prediction(target: str, device: str, place: str, *, threads: int, as_json: bool) -> int:
    if device:
        raise InvalidArgumentError(
            "--device is for versions: a prediction is replayed where it was answered"
        )
    again = replay_prediction(target, opened_log(place), threads=threads)
    show_replay(again, as_json=as_json)
    return again.verdict.exit_status


def _version(target: str, device: str, *, threads: int, as_json: bool) -> int:
    folder = bundle_folder(target)
    head = read_head(folder)
    recorded = "cuda" if head.manifest.packed_on.gpu else "cpu"
    found = Replayer(
        folder=folder,
        manifest=head.manifest,
        threads=threads,
        device=parse_device(device or recorded),
        may_execute=may_execute(head, load_settings()),
    ).reproduce()
    if as_json:
        print_json(found)
    else:
        typer.echo("\n".join(_lines(found)))
    return found.verdict.exit_status


def _lines(found: Reproduction) -> list[str]:
    lines = [
        f"{found.verdict}  {found.model}:{found.version}  digest {found.digest[:12]}",
        *(f"  output  {output_line(item)}" for item in found.outputs),
        *(f"  because {reason}" for reason in found.reasons),
    ]
    if found.fingerprint == found.recorded_fingerprint:
        lines.append(f"  here    the recorded environment ({found.fingerprint[:12]})")
    else:
        lines += [f"  changed {change}" for change in found.changes if change.matters]
    lines += [f"  also    {change}" for change in found.changes if not change.matters]
    return lines
