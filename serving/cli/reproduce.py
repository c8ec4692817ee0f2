"""`bascule reproduce`: does a version give here what it gave when it was packed?"""

from typing import Annotated

import typer

from runtimes.devices import device as parse_device
from runtimes.golden import OutputReplay
from serving.cli.bundle_target import bundle_folder, may_execute
from serving.cli.render import print_json
from serving.registry.bundle import read_head
from serving.registry.reproduction import Replayer, Reproduction
from serving.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog="Examples: bascule reproduce resnet-3 · bascule reproduce m:2 --threads 1")(
        reproduce
    )


def reproduce(
    target: Annotated[
        str, typer.Argument(metavar="BUNDLE|MODEL:VERSION", help="What to reproduce.")
    ],
    *,
    threads: Annotated[
        int, typer.Option(min=0, max=1024, help="Engine threads; 0: as recorded.")
    ] = 0,
    device: Annotated[
        str, typer.Option(metavar="DEVICE", help="cpu or cuda; default: as recorded.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Verify the files, replay the golden samples here, and explain what differs.

    Exit status 0: reproduced; 1: different; 2: nobody can tell.
    """
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
    raise typer.Exit(found.verdict.exit_status)


def _lines(found: Reproduction) -> list[str]:
    lines = [
        f"{found.verdict}  {found.model}:{found.version}  digest {found.digest[:12]}",
        *(f"  output  {_output_line(item)}" for item in found.outputs),
        *(f"  because {reason}" for reason in found.reasons),
    ]
    if found.fingerprint == found.recorded_fingerprint:
        lines.append(f"  here    the recorded environment ({found.fingerprint[:12]})")
    else:
        lines += [f"  changed {change}" for change in found.changes if change.matters]
    lines += [f"  also    {change}" for change in found.changes if not change.matters]
    return lines


def _output_line(item: OutputReplay) -> str:
    seen = item.comparison
    if seen.is_exact:
        return f"{item.name}: exact, {seen.element_count} elements"
    nans = (
        f", NaN {seen.golden_nan_count} → {seen.found_nan_count}"
        if seen.golden_nan_count != seen.found_nan_count
        else ""
    )
    place = f"{item.sample}{list(seen.first_difference or ())}"
    return (
        f"{item.name}: {seen.different_count} of {seen.element_count} differ, by up to "
        f"{seen.largest_abs:.3g} ({seen.largest_ulp} ulp){nans}; first at {place}: golden "
        f"{seen.golden_value}, found {seen.found_value}; "
        f"{'within' if seen.holds else 'outside'} {item.tolerance}"
    )
