"""`bascule inspect`: a bundle or a raw model file as a readable report; nothing of it is run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from runtimes.facts_json import plain
from runtimes.file_kind import read_model_file
from runtimes.model_facts import ModelFacts, kind_of
from serving.cli.bundle_target import bundle_folder
from serving.cli.model_lines import Line, estimate_of, estimate_text, model_lines
from serving.cli.pack import batch_text, golden_lines
from serving.cli.render import print_json, size_text, tensor_text
from serving.cli.shown_text import shown, shown_line
from serving.errors import NotFoundError
from serving.registry.bundles.bundle import Head, read_head
from serving.registry.bundles.golden_samples import specs_of
from serving.registry.bundles.manifest import BundleFile, Lineage, Manifest, Requirements
from serving.registry.environment import fingerprint

CONTINUED: Final = " " * 15
"""In front of the further lines of a text."""


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
            estimate = plain(estimate_of(facts, path, None))
            kind = kind_of(facts)
            print_json(
                {"file": str(path), "kind": kind, "model": plain(facts), "estimate": estimate}
            )
        else:
            size = ("size", size_text(path.stat().st_size))
            estimate_line = ("estimate", estimate_text(estimate_of(facts, path, None)))
            lines = [size, *model_lines(facts, tensors=True), estimate_line]
            _print(f"{path.name}  {kind_of(facts)}", lines)
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
        "estimate": plain(
            estimate_of(facts, folder / manifest.model_file, manifest.max_batch_rows)
        ),
    }


def _print(title: str, lines: list[Line]) -> None:
    typer.echo(shown_line(title))
    for label, text in lines:
        typer.echo(f"  {label:<12} {shown(text, CONTINUED)}")


def _bundle_lines(folder: Path, head: Head, facts: ModelFacts) -> Iterator[Line]:
    manifest = head.manifest
    specs = specs_of(manifest)
    yield from (("input", tensor_text(spec)) for spec in specs.inputs)
    yield from (("output", tensor_text(spec)) for spec in specs.outputs)
    yield "batch", batch_text(manifest.max_batch_rows)
    yield from model_lines(facts, tensors=not specs.inputs)
    estimate = estimate_of(facts, folder / manifest.model_file, manifest.max_batch_rows)
    yield "estimate", estimate_text(estimate)
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
