"""`bascule pack`: a model file becomes a bundle, with all that running it shows."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from runtimes.devices import device as parse_device
from serving.cli.given_samples import given_samples
from serving.cli.lock_options import Dependencies, Lock, dependency_requirements
from serving.cli.pack_options import (
    Card,
    CodeRevision,
    Config,
    Contract,
    Deterministic,
    GoldenCount,
    GoldenFiles,
    Include,
    Json,
    Licence,
    Metrics,
    Notes,
    OnDevice,
    Output,
    Parent,
    Profiles,
    Reference,
    Rows,
    Sign,
    Tolerances,
    TrainedUntil,
    TrainingData,
    config_text,
    git_revision,
    lineage_of,
    tolerances_of,
)
from serving.cli.passphrase import Passphrase, read_passphrase
from serving.cli.progress import Progress
from serving.cli.render import duration_text, print_json, size_text, tensor_text
from serving.clock import SystemClock
from serving.ids import model_name, version_number
from serving.registry.bundle import Bundle
from serving.registry.completion import DEFAULT_SAMPLES, Inspection, RunOrder, complete_bundle
from serving.registry.formats import format_of_plain_file
from serving.registry.golden_samples import from_stored
from serving.registry.keys import SigningKey, read_signing_key
from serving.registry.manifest import Golden, Manifest, Requirements
from serving.registry.packing import PackOrder, pack_bundle
from serving.registry.signing import sign_bundle


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Examples: bascule pack model.onnx --name resnet --version 3 · bascule pack m.onnx "
        "--name m --version 1 --golden rows.json --tolerance y=ulp:4 --metric accuracy=0.93"
    )(pack)


def pack(  # noqa: PLR0913  one parameter for each flag
    file: Annotated[Path, typer.Argument(metavar="FILE", help="model.onnx or model.pt")],
    *,
    name: Annotated[str, typer.Option(help="The model's name.")],
    version: Annotated[str, typer.Option(help="The version's number.")],
    config: Config = None,
    max_batch_size: Rows = None,
    include: Include = None,
    profile: Profiles = None,
    golden: GoldenFiles = None,
    golden_samples: GoldenCount = DEFAULT_SAMPLES,
    tolerance: Tolerances = None,
    lock: Lock = None,
    dependencies: Dependencies = "",
    deterministic: Deterministic = False,
    device: OnDevice = "cpu",
    training_data: TrainingData = "",
    trained_until: TrainedUntil = None,
    code_revision: CodeRevision = None,
    parent: Parent = "",
    metric: Metrics = None,
    card: Card = None,
    contract: Contract = None,
    reference: Reference = None,
    licence: Licence = "",
    notes: Notes = "",
    output: Output = None,
    sign: Sign = None,
    passphrase_file: Passphrase = None,
    as_json: Json = False,
) -> None:
    """Run a model, and make a bundle of it: files, checksums, specs, golden samples, lineage."""
    revision, gap = (code_revision, "") if code_revision is not None else git_revision(Path.cwd())
    order = PackOrder(
        model_file=file,
        name=model_name(name),
        version=version_number(version),
        created_utc=SystemClock().utc_now(),
        config=config_text(config, max_batch_size),
        extra_files=tuple(include or ()),
        card_file=card,
        contract_file=contract,
        reference_file=reference,
        lock_file=lock,
        requirements=_requirements(dependencies, profile, deterministic=deterministic),
        lineage=lineage_of(training_data, trained_until, revision, parent, metric or ()),
        licence=licence,
        notes=notes,
    )
    run = RunOrder(
        golden_count=golden_samples,
        given=given_samples(golden) if golden else None,
        tolerances=tolerances_of(tolerance or ()),
        device=parse_device(device),
        may_execute=sign is not None,
    )
    key = None if sign is None else read_signing_key(sign, read_passphrase(passphrase_file))
    bundle, seen = _signed(order, output or Path(f"{name}-{version}"), run, key)
    gaps = (*((gap,) if gap else ()), *_gaps(bundle.manifest))
    _report(bundle, seen, gaps, as_json=as_json)


def _requirements(
    dependencies: str, profiles: list[str] | None, *, deterministic: bool
) -> Requirements:
    return dependency_requirements(dependencies).model_copy(
        update={"profiles": tuple(profiles or ()), "deterministic": deterministic}
    )


def _signed(
    order: PackOrder, destination: Path, run: RunOrder, key: SigningKey | None
) -> tuple[Bundle, Inspection]:
    bundle, seen = pack_checked(order, destination, run)
    if key is not None:
        sign_bundle(bundle.folder, key)
    return bundle, seen


def pack_checked(
    order: PackOrder, destination: Path, run: RunOrder | None = None
) -> tuple[Bundle, Inspection]:
    """Write a bundle whose model was loaded and run from it, and return what that showed.

    Raises:
        BasculeError: It cannot be packed, or the model does not load; or loading it may run code
            of its author, and the order does not allow that.
    """
    run = run or RunOrder()
    if not run.may_execute:
        format_of_plain_file(order.model_file.name)
    seen: list[Inspection] = []
    with Progress() as progress:
        told = replace(run, say=progress.say)

        def complete(draft: Bundle) -> Manifest:
            manifest, inspection = complete_bundle(draft, told)
            seen.append(inspection)
            return manifest

        bundle = pack_bundle(order, destination, complete)
    return bundle, seen[0]


def _gaps(manifest: Manifest) -> Iterator[str]:
    """Say what nobody said and nothing showed."""
    if not manifest.licence:
        yield "licence: say --licence"
    if not manifest.lineage.training_data:
        yield "training data: say --training-data"
    if not manifest.lineage.metrics:
        yield "metrics: say --metric"
    if not manifest.requirements.profiles:
        yield "hardware profile: any node will do, unless --profile says otherwise"


def _report(bundle: Bundle, seen: Inspection, gaps: tuple[str, ...], *, as_json: bool) -> None:
    manifest = bundle.manifest
    if as_json:
        told = manifest.model_dump(mode="json", include={"golden", "requirements", "lineage"})
        shown = {"bundle": str(bundle.folder), "digest": bundle.digest}
        inspection = replace(seen, measured=None)  # the samples are in the bundle
        print_json({**shown, "inspection": inspection, **told, "unknown": gaps})
        return
    lines = [
        f"{manifest.name}:{manifest.version}  {manifest.format}  {size_text(bundle.size_bytes)}",
        *(f"  input   {tensor_text(spec)}" for spec in seen.inputs),
        *(f"  output  {tensor_text(spec)}" for spec in seen.outputs),
        f"  batch   {batch_text(seen.max_batch_rows)}",
        f"  run     {duration_text(seen.run_s)} for one row on this CPU",
        f"  memory  {size_text(seen.memory_bytes) if seen.memory_bytes else 'not measured'}",
        *(f"  golden  {line}" for line in golden_lines(manifest.golden)),
        *(f"  file    {file.path}  {size_text(file.size_bytes)}" for file in manifest.files),
        *(f"  note    {note}" for note in seen.notes),
        *(f"  unknown {gap}" for gap in gaps),
        f"  bundle  {bundle.folder}",
        f"  digest  {bundle.digest}",
        f"next: bascule push {bundle.folder}",
    ]
    typer.echo("\n".join(lines))


def batch_text(rows: int | None) -> str:
    """Return how calls are joined, for people."""
    if rows is None:
        return "not known"
    return f"up to {rows} rows along the first dimension" if rows else "none: one call, one run"


def golden_lines(golden: Golden | None) -> list[str]:
    """Return golden samples and their tolerances, for people."""
    if golden is None:
        return ["none: nothing can be replayed"]
    inputs = "made-up" if golden.generated else "given"
    return [
        f"{len(golden.samples)} samples with {inputs} inputs",
        *(
            f"{item.name}: {from_stored(item.same_environment)} in this environment, "
            f"{from_stored(item.other_environment)} elsewhere"
            for item in golden.outputs
        ),
    ]
