"""Replays one logged prediction, and prints what it showed."""

from pathlib import Path

import typer

from runtimes.golden import OutputReplay
from serving.cli.bundle_target import may_execute
from serving.cli.render import print_json
from serving.errors import NotFoundError
from serving.predictions.reading import PredictionReader
from serving.predictions.replay import PredictionReplay, PredictionReplayer, missing
from serving.predictions.shelf import Shelf
from serving.registry.bundles.bundle import read_head
from serving.registry.store import Registry
from serving.registry.version import VersionSpec
from serving.settings import load_settings


def replay_prediction(
    prediction_id: str, reader: PredictionReader, *, threads: int = 0
) -> PredictionReplay:
    """Find a prediction in the log and run it again."""
    found = reader.find(prediction_id)
    if found is None:
        return missing(prediction_id, reader.places)
    with Shelf() as shelf:
        replayer = PredictionReplayer(
            shelf=shelf, locate=_in_registry, may_execute=_is_trusted, threads=threads
        )
        return replayer.replay(found)


def show_replay(found: PredictionReplay, *, as_json: bool) -> None:
    """Print what a replay showed."""
    if as_json:
        print_json(found)
        return
    model = f"  {found.model}:{found.version}  digest {found.digest[:12]}" if found.model else ""
    lines = [
        f"{found.verdict}  {found.prediction_id}{model}",
        *([f"  batch   {found.batch}"] if found.batch else []),
        *(f"  output  {output_line(item)}" for item in found.outputs),
        *(f"  because {reason}" for reason in found.reasons),
        *(f"  changed {change}" for change in found.changes if change.matters),
        *(f"  also    {change}" for change in found.changes if not change.matters),
    ]
    if found.outputs and not any(change.matters for change in found.changes):
        lines.append("  here    the environment that answered")
    typer.echo("\n".join(lines))


def output_line(item: OutputReplay) -> str:
    """Say in one line how an output compares."""
    seen = item.comparison
    if seen.is_exact:
        return f"{item.name}: exact, {seen.element_count} elements"
    nans = (
        f", NaN {seen.golden_nan_count} → {seen.found_nan_count}"
        if seen.golden_nan_count != seen.found_nan_count
        else ""
    )
    before = "golden" if item.sample else "logged"
    place = f"{item.sample}{list(seen.first_difference or ())}"
    return (
        f"{item.name}: {seen.different_count} of {seen.element_count} differ, by up to "
        f"{seen.largest_abs:.3g} ({seen.largest_ulp} ulp){nans}; first at {place}: {before} "
        f"{seen.golden_value}, found {seen.found_value}; "
        f"{'within' if seen.holds else 'outside'} {item.tolerance}"
    )


def _in_registry(spec: VersionSpec) -> Path | None:
    """Return a bundle's folder in the registry, if its digest is that of the version."""
    with Registry.of(load_settings()) as registry:
        try:
            versions = registry.versions(spec.model)
            if all((one.version, one.digest) != (spec.version, spec.digest) for one in versions):
                return None
            return registry.folder(spec.model, spec.version)
        except NotFoundError:
            return None


def _is_trusted(folder: Path) -> bool:
    return may_execute(read_head(folder), load_settings())
