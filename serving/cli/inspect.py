"""`bascule inspect`: a bundle or a raw model file as a readable report; nothing of it is run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from runtimes.contract import TensorSpec
from runtimes.facts_json import plain
from runtimes.file_kind import read_model_file
from runtimes.model_facts import (
    ModelFacts,
    OnnxModel,
    PickledFile,
    Pt2Archive,
    TorchScriptArchive,
    UnreadableFile,
    kind_of,
)
from serving.cli.bundle_target import bundle_folder
from serving.cli.pack import batch_text, golden_lines
from serving.cli.render import print_json, size_text, tensor_text
from serving.errors import NotFoundError
from serving.registry.bundle import Head, read_head
from serving.registry.environment import fingerprint
from serving.registry.golden_samples import specs_of
from serving.registry.manifest import BundleFile, Lineage, Manifest, Requirements

SHOWN_OPERATORS: Final = 10
Line = tuple[str, str]
"""A label, and what stands behind it."""


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        epilog="Examples: bascule inspect resnet-3 · bascule inspect resnet:3 · "
        "bascule inspect model.onnx"
    )(inspect)


def inspect(
    target: Annotated[
        str, typer.Argument(metavar="BUNDLE|MODEL:VERSION|FILE", help="What to look at.")
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Read a bundle or a model file without running it, and tell all that it says of itself."""
    path = Path(target)
    if path.is_file():
        facts = read_model_file(path)
        if as_json:
            print_json({"file": str(path), "kind": kind_of(facts), "model": plain(facts)})
        else:
            size = ("size", size_text(path.stat().st_size))
            _print(f"{path.name}  {kind_of(facts)}", [size, *_model_lines(facts, tensors=True)])
        return
    if not path.is_dir() and ":" not in target and "@" not in target:
        raise NotFoundError(f"{target} is neither a file, a bundle's folder nor MODEL:VERSION")
    folder = bundle_folder(target)
    head = read_head(folder)
    facts = read_model_file(folder / head.manifest.model_file)
    if as_json:
        print_json(_record(folder, head, facts))
    else:
        manifest = head.manifest
        title = f"{manifest.name}:{manifest.version}  {manifest.format}"
        _print(title, [*_bundle_lines(folder, head, facts)])


def _record(folder: Path, head: Head, facts: ModelFacts) -> dict[str, Any]:
    manifest = head.manifest
    return {
        "bundle": str(folder),
        "digest": manifest.digest(),
        "fingerprint": fingerprint(manifest.packed_on, manifest.format),
        "roles": {file.path: _role(file, manifest) for file in manifest.files},
        "signed_by": [key.key_id for key in head.signers],
        "manifest": manifest.model_dump(mode="json"),
        "model": plain(facts),
    }


def _print(title: str, lines: list[Line]) -> None:
    typer.echo(title)
    for label, text in lines:
        typer.echo(f"  {label:<12} {text}")


def _bundle_lines(folder: Path, head: Head, facts: ModelFacts) -> Iterator[Line]:
    manifest = head.manifest
    specs = specs_of(manifest)
    yield from (("input", tensor_text(spec)) for spec in specs.inputs)
    yield from (("output", tensor_text(spec)) for spec in specs.outputs)
    yield "batch", batch_text(manifest.max_batch_rows)
    yield from _model_lines(facts, tensors=not specs.inputs)
    for file in manifest.files:
        yield "file", f"{file.path}  {size_text(file.size_bytes)}  {_role(file, manifest)}"
    yield from (("policy", line) for line in manifest.config.splitlines() if line.strip())
    yield from _requirement_lines(manifest.requirements)
    yield from (("golden", line) for line in golden_lines(manifest.golden))
    yield from _lineage_lines(manifest.lineage)
    yield from _environment_lines(manifest)
    yield "licence", manifest.licence or "not stated"
    if manifest.notes:
        yield "notes", manifest.notes
    yield "signed by", ", ".join(key.key_id for key in head.signers) or "nobody"
    yield "bundle", str(folder)
    yield "digest", manifest.digest()


def _role(file: BundleFile, manifest: Manifest) -> str:
    """Return what a file is in its bundle."""
    roles = {
        manifest.model_file: "model",
        manifest.card_file: "model card",
        manifest.contract_file: "input contract",
        manifest.reference_file: "reference profile",
        manifest.requirements.lock_file: "lock file",
        **dict.fromkeys(manifest.golden.samples if manifest.golden else (), "golden sample"),
    }
    return roles.get(file.path, "beside the model")


def _model_lines(facts: ModelFacts, *, tensors: bool) -> Iterator[Line]:
    """Tell what the model file says of itself."""
    match facts:
        case OnnxModel():
            yield from _onnx_lines(facts, tensors=tensors)
        case TorchScriptArchive():
            yield from _torchscript_lines(facts)
        case Pt2Archive():
            yield from _exported_lines(facts)
        case PickledFile():
            yield "warning", "it is a pickle or a checkpoint: nothing that is served"
        case UnreadableFile():
            yield "warning", f"it cannot be read: {facts.reason}"


def _torchscript_lines(facts: TorchScriptArchive) -> Iterator[Line]:
    yield "file format", f"TorchScript, version {facts.file_version}"
    yield "weights", size_text(facts.weight_bytes)
    if facts.operators:
        yield "foreign ops", ", ".join(facts.operators)
    if facts.is_training:
        yield "warning", "a module of it was saved in training mode"


def _exported_lines(facts: Pt2Archive) -> Iterator[Line]:
    major, minor = facts.schema_version
    yield "file format", f"torch.export, schema {major}.{minor}, torch {facts.torch_version}"
    yield "weights", size_text(facts.weight_bytes)
    for item in facts.inputs:
        yield "input", f"{item.name} [{','.join(map(str, item.shape))}]"
    if facts.pickles:
        yield "warning", f"loading it unpickles {', '.join(facts.pickles[:3])}"


def _onnx_lines(facts: OnnxModel, *, tensors: bool) -> Iterator[Line]:
    if tensors:
        yield from (("input", _spec_text(spec, facts)) for spec in facts.inputs)
        yield from (("output", _spec_text(spec, facts)) for spec in facts.outputs)
    opsets = ", ".join(f"{name or 'ai.onnx'} {number}" for name, number in facts.opsets.items())
    yield "file format", f"ONNX IR {facts.ir_version}, opset {opsets}"
    if facts.producer:
        yield "producer", facts.producer
    shown = ", ".join(f"{use.name} {use.count}" for use in facts.operators[:SHOWN_OPERATORS])
    count = sum(use.count for use in facts.operators)
    more = len(facts.operators) - SHOWN_OPERATORS
    yield "operators", f"{count} nodes: {shown}{f', and {more} other kinds' if more > 0 else ''}"
    yield "weights", size_text(facts.weight_bytes)
    beside = sorted({item.location for item in facts.external})
    if beside:
        yield "external", ", ".join(beside)
    if facts.unknown_operators:
        yield "warning", f"unknown operators: {', '.join(map(str, facts.unknown_operators))}"


def _spec_text(spec: TensorSpec, facts: OnnxModel) -> str:
    odd = facts.unserved.get(spec.name)
    return tensor_text(spec) if odd is None else f"{spec.name}: {odd}, which is not served"


def _requirement_lines(needs: Requirements) -> Iterator[Line]:
    yield "profiles", ", ".join(needs.profiles) or "any node"
    memory = size_text(needs.memory_bytes) if needs.memory_bytes else "not measured"
    yield "memory", f"{memory} to load and run when it was packed"
    if needs.gpu_memory_bytes:
        yield "GPU memory", size_text(needs.gpu_memory_bytes)
    if needs.lock_file:
        yield "packages", f"{needs.lock_file} ({needs.dependencies or 'as the node says'})"
    if needs.deterministic:
        yield "runs", "with deterministic algorithms and one thread"


def _lineage_lines(lineage: Lineage) -> Iterator[Line]:
    yield "trained on", lineage.training_data or "not stated"
    if lineage.training_data_sha256:
        yield "data sha256", lineage.training_data_sha256
    if lineage.trained_until:
        yield "until", lineage.trained_until.isoformat()
    yield "code", lineage.code_revision or "not stated"
    if lineage.parent:
        yield "made from", lineage.parent
    yield from (("metric", f"{name} {value:g}") for name, value in lineage.metrics.items())


def _environment_lines(manifest: Manifest) -> Iterator[Line]:
    where = manifest.packed_on
    yield "packed", f"{manifest.created_utc.isoformat(timespec='seconds')} on {where.platform}"
    yield "python", f"{where.python}, {where.libc}"
    yield "cpu", f"{where.cpu_model} ({' '.join(where.cpu_flags)})"
    if where.gpu:
        yield "gpu", f"{where.gpu}, driver {where.driver}, CUDA {where.cuda}, cuDNN {where.cudnn}"
    yield "threads", str(where.threads) if where.threads else "nothing was run"
    yield "with", ", ".join(f"{name} {version}" for name, version in where.packages.items())
    yield "fingerprint", fingerprint(where, manifest.format)
