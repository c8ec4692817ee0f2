"""`bascule pack`: a model file becomes a bundle, with all that running it shows."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from runtimes.devices import Device
from runtimes.devices import device as parse_device
from runtimes.facts_json import plain
from runtimes.file_kind import read_model_file
from runtimes.gpu_memory import GpuMeter
from runtimes.gpu_probe import SystemNvml
from serving.cli.contract_draft import with_drafted_contract
from serving.cli.given_samples import given_samples
from serving.cli.lock_options import Dependencies, Lock, dependency_requirements
from serving.cli.model_lines import estimate_of, estimate_text, model_lines
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
from serving.cli.shown_text import shown_line
from serving.clock import SystemClock
from serving.ids import model_name, version_number
from serving.registry.bundles.bundle import Bundle
from serving.registry.bundles.completion import (
    DEFAULT_SAMPLES,
    Inspection,
    RunOrder,
    complete_bundle,
)
from serving.registry.bundles.golden_samples import from_stored
from serving.registry.bundles.keys import SigningKey, read_signing_key
from serving.registry.bundles.manifest import Golden, Manifest, Requirements
from serving.registry.bundles.packing import PackOrder, pack_bundle
from serving.registry.bundles.signing import sign_bundle
from serving.registry.contracts.kept_contract import read_contract_file
from serving.registry.formats import format_of_plain_file
from serving.registry.model_folder import refuse_model_folder
from serving.settings import inherited_environment


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
        meter=meter_of(parse_device(device)),
        may_execute=sign is not None,
    )
    key = None if sign is None else read_signing_key(sign, read_passphrase(passphrase_file))
    bundle, seen = _signed(order, output or Path(f"{name}-{version}"), run, key)
    _report(bundle, seen, tuple(_gaps(bundle.manifest, gap)), as_json=as_json)


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
    refuse_model_folder(order.model_file)
    if order.contract_file is not None:
        read_contract_file(order.contract_file)  # or no worker would take the version
    run = run or RunOrder()
    if not run.may_execute:
        format_of_plain_file(order.model_file.name)
    seen: list[Inspection] = []
    with Progress() as progress:
        told = replace(run, say=progress.say)

        def complete(draft: Bundle) -> Manifest:
            manifest, inspection = complete_bundle(draft, told)
            manifest, note = with_drafted_contract(draft.folder, manifest)
            notes = (*inspection.notes, note) if note else inspection.notes
            seen.append(replace(inspection, notes=notes))
            return manifest

        bundle = pack_bundle(order, destination, complete)
    return bundle, seen[0]


def _gaps(manifest: Manifest, revision_gap: str) -> Iterator[str]:
    """Say what nobody said and nothing showed."""
    if revision_gap:
        yield revision_gap
    if not manifest.licence:
        yield "licence: say --licence"
    if not manifest.lineage.training_data:
        yield "training data: say --training-data"
    if not manifest.lineage.metrics:
        yield "metrics: say --metric"
    if not manifest.contract_file:
        yield "data contract: say --contract, or bring rows for a draft (--reference, --golden)"
    if not manifest.requirements.profiles:
        yield "hardware profile: any node will do, unless --profile says otherwise"


def _report(bundle: Bundle, seen: Inspection, gaps: tuple[str, ...], *, as_json: bool) -> None:
    manifest = bundle.manifest
    model_file = bundle.folder / manifest.model_file
    facts = read_model_file(model_file)
    estimate = estimate_of(facts, model_file, seen.max_batch_rows)
    if as_json:
        told = manifest.model_dump(mode="json", include={"golden", "requirements", "lineage"})
        shown = {"bundle": str(bundle.folder), "digest": bundle.digest}
        inspection = replace(seen, measured=None)  # the samples are in the bundle
        print_json(
            {
                **shown,
                "inspection": inspection,
                **told,
                "model": plain(facts),
                "estimate": plain(estimate),
                "unknown": gaps,
            }
        )
        return
    where = manifest.packed_on.gpu or "this CPU"
    lines = (
        *(("input", tensor_text(spec)) for spec in seen.inputs),
        *(("output", tensor_text(spec)) for spec in seen.outputs),
        ("batch", batch_text(seen.max_batch_rows)),
        *model_lines(facts, tensors=False),
        ("run", f"{duration_text(seen.run_s)} for one row on {where}"),
        ("memory", _memory_text(seen)),
        ("estimate", estimate_text(estimate)),
        *(("golden", line) for line in golden_lines(manifest.golden)),
        *(("file", f"{one.path}  {size_text(one.size_bytes)}") for one in manifest.files),
        *(("note", note) for note in seen.notes),
        *(("unknown", gap) for gap in gaps),
        ("bundle", str(bundle.folder)),
        ("digest", bundle.digest),
    )
    size = size_text(bundle.size_bytes)
    typer.echo(f"{manifest.name}:{manifest.version}  {manifest.format}  {size}")
    for label, text in lines:
        typer.echo(f"  {label:<12} {shown_line(text)}")
    typer.echo(f"next: bascule push {bundle.folder}")


def _memory_text(seen: Inspection) -> str:
    host = size_text(seen.memory_bytes) if seen.memory_bytes else "not measured"
    gpu = f", {size_text(seen.gpu_memory_bytes)} of the GPU" if seen.gpu_memory_bytes else ""
    return host + gpu


def meter_of(device: Device) -> GpuMeter | None:
    """Return what measures a device's memory; a CPU needs none."""
    if device.kind == "cpu":
        return None
    listed = inherited_environment().get("CUDA_VISIBLE_DEVICES")
    return GpuMeter(SystemNvml(), device, listed)


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
