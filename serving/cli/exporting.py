"""`bascule export`: a version leaves Bascule in a layout that others read."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from runtimes.batch_proof import settle_signature
from runtimes.errors import InvalidArgumentError
from serving.cli.render import print_json, size_text
from serving.registry.aliases import named_version, stored_version
from serving.registry.bundles.archive import write_archive
from serving.registry.bundles.bundle import Bundle, read_bundle
from serving.registry.bundles.bundle_model import model_of
from serving.registry.formats import format_named
from serving.registry.interchange.triton_export import Exported, export_triton, served_of
from serving.registry.store import Registry
from serving.registry.version import ServedVersion
from serving.settings import load_settings

FORMATS = ("triton", "archive")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Examples: bascule export resnet:3 -o triton-models · bascule export resnet:3 -o "
        "resnet-3.tar.gz --format archive"
    )(export)


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="MODEL[:V]|MODEL@ALIAS|BUNDLE", help="A registered version, or a bundle."
        ),
    ],
    *,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR|FILE", help="Where to write it."),
    ],
    layout: Annotated[
        str,
        typer.Option(
            "--format",
            help="triton: MODEL/VERSION/… and config.pbtxt; archive: the bundle in one .tar or "
            ".tar.gz, with its signatures.",
        ),
    ] = "triton",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Write a version in another layout, and list what that layout cannot carry."""
    if layout not in FORMATS:
        raise InvalidArgumentError(f"--format '{layout[:40]}': write {' or '.join(FORMATS)}")
    bundle = source_bundle(source)
    if layout == "archive":
        write_archive(bundle.folder, output)
        _report_archive(bundle, output, as_json=as_json)
        return
    exported = export_triton(bundle, served_of(bundle.manifest) or _inspected(bundle), output)
    if as_json:
        print_json(exported)
    else:
        _print(exported)


def _report_archive(bundle: Bundle, file: Path, *, as_json: bool) -> None:
    manifest = bundle.manifest
    size_bytes = file.stat().st_size
    if as_json:
        told = {"model": manifest.name, "version": manifest.version, "digest": bundle.digest}
        print_json({**told, "file": str(file), "size_bytes": size_bytes})
        return
    typer.echo(f"{manifest.name}:{manifest.version}  {file}  {size_text(size_bytes)}")
    typer.echo(f"next, elsewhere: bascule push {file.name}")


def source_bundle(source: str) -> Bundle:
    """Return the verified bundle that a person named: a folder, or a version of the registry.

    Without a number it is the live version.

    Raises:
        NotFoundError: It is neither.
        InvalidArgumentError: The bundle is damaged.
    """
    if Path(source).is_dir():
        return read_bundle(Path(source))
    named = source if ":" in source or "@" in source else f"{source}@live"
    with Registry.of(load_settings()) as registry:
        found = stored_version(registry, named_version(registry, named))
        return read_bundle(registry.blobs.folder(found.digest))


def _inspected(bundle: Bundle) -> ServedVersion:
    """Load a model of which the manifest does not say what it is."""
    model = model_of(bundle.folder, bundle.manifest)
    with closing(model.load(model.threads)) as loaded:
        signature = settle_signature(loaded, model.configured)
    found = format_named(bundle.manifest.format)
    return ServedVersion(
        platform=found.platform,
        backend=found.backend,
        inputs=signature.inputs,
        outputs=signature.outputs,
        max_batch_rows=signature.max_batch_rows,
        device="cpu",
        threads=model.threads,
        load_s=0.0,
        run_s=0.0,
    )


def _print(exported: Exported) -> None:
    typer.echo(f"{exported.model}:{exported.version}  {exported.folder}")
    for loss in exported.losses:
        typer.echo(f"  not carried  {loss}")
