"""Writes bundles: a model file and what belongs to it become a folder, whole and checked."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from runtimes.errors import InvalidArgumentError, UnsupportedError
from runtimes.node_probe import probe
from serving.errors import AlreadyExistsError
from serving.registry.bundles.bundle import (
    Bundle,
    copy_file,
    hash_file,
    sync_folder,
    walk,
    write_file,
)
from serving.registry.bundles.manifest import (
    MANIFEST_FILE,
    SIGNATURE_FILE,
    BundleFile,
    Lineage,
    Manifest,
    PackedOn,
    Requirements,
    parse_manifest,
    require_inner_path,
)
from serving.registry.bundles.pins import read_pins
from serving.registry.ensemble import NO_BUNDLE
from serving.registry.environment import environment_of
from serving.registry.formats import format_named, format_of_file
from serving.registry.model_config.parsing import parse_config

CARD_FILE: Final = "card.md"
CONTRACT_FILE: Final = "contract.yaml"
LOCK_FILE: Final = "requirements.lock"
REFERENCE_STEM: Final = "reference"
NO_REQUIREMENTS: Final = Requirements()
NO_LINEAGE: Final = Lineage()


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOrder:
    """What to pack."""

    model_file: Path
    name: str
    version: int
    created_utc: datetime
    config: str = ""
    extra_files: Sequence[Path] = ()
    """Files that the model reads beside it, and others to keep with it: at the same place relative
    to the model file if they lie below its folder, otherwise beside it."""
    placed_files: Mapping[str, Path] = field(default_factory=dict)
    """Further files, by their paths in the bundle."""
    card_file: Path | None = None
    contract_file: Path | None = None
    reference_file: Path | None = None
    lock_file: Path | None = None
    requirements: Requirements = NO_REQUIREMENTS
    lineage: Lineage = NO_LINEAGE
    licence: str = ""
    notes: str = ""


Complete = Callable[[Bundle], Manifest]
"""Sees a bundle in the making, may write more files into its folder, and returns the manifest with
what it found out; files apart, which are measured afterwards. Raises to refuse the bundle."""


def _as_it_is(draft: Bundle) -> Manifest:
    """Add nothing."""
    return draft.manifest


def pack_bundle(order: PackOrder, destination: Path, complete: Complete = _as_it_is) -> Bundle:
    """Write a bundle; `destination` appears whole and checked, or not at all.

    Args:
        order: What to pack.
        destination: The bundle's folder.
        complete: Adds what running the model shows.

    Raises:
        AlreadyExistsError: `destination` exists.
        NotFoundError: A file to pack does not exist.
        InvalidArgumentError: Two files have one name, the configuration is wrong, or a name is.
        UnsupportedError: The model's format is not served.
    """
    destination = destination.absolute()
    if destination.exists():
        raise AlreadyExistsError(f"{destination} exists: choose another folder with --output")
    format_name, model_name = _format_and_file(order)
    if order.lock_file is not None:
        read_pins(order.lock_file)
    destination.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=destination.parent, prefix=f".{destination.name[:80]}."))
    try:
        files = tuple(
            copy_file(source, staging / name, name)
            for name, source in _named(order, model_name).items()
        )
        draft = checked_manifest(order, format_name, model_name, files)
        found = complete(Bundle(folder=staging, manifest=draft, digest=draft.digest()))
        manifest = _with_new_files(found, staging, files)
        write_file(staging / MANIFEST_FILE, manifest.pretty())
        _sync_tree(staging)
        staging.chmod(0o755)
        staging.rename(destination)
    except BaseException:
        shutil.rmtree(staging)
        raise
    sync_folder(destination.parent)
    return Bundle(folder=destination, manifest=manifest, digest=manifest.digest())


def renumber(bundle: Bundle, version: int, destination: Path) -> Bundle:
    """Write a bundle's files once more, as another version of the model.

    Signatures stay behind: who vouched for one version has not vouched for the other.
    """
    manifest = bundle.manifest.model_copy(update={"version": version})
    shutil.copytree(bundle.folder, destination, ignore=shutil.ignore_patterns(SIGNATURE_FILE))
    (destination / MANIFEST_FILE).unlink()
    write_file(destination / MANIFEST_FILE, manifest.pretty())
    return Bundle(folder=destination, manifest=manifest, digest=manifest.digest())


def checked_manifest(
    order: PackOrder, format_name: str, model_file: str, files: tuple[BundleFile, ...]
) -> Manifest:
    """Build the manifest of files that were copied, through the same checks as a foreign one.

    Raises:
        InvalidArgumentError: A value is out of bounds.
    """
    draft = Manifest.model_construct(
        format_version=1,
        name=order.name,
        version=order.version,
        format=format_name,
        model_file=model_file,
        files=files,
        config=order.config,
        created_utc=order.created_utc,
        packed_on=PackedOn.of(environment_of(probe(), format_name=format_name, threads=0)),
        requirements=order.requirements.model_copy(
            update={"lock_file": LOCK_FILE if order.lock_file else ""}
        ),
        contract_file=CONTRACT_FILE if order.contract_file else "",
        reference_file=_reference_name(order.reference_file) if order.reference_file else "",
        card_file=CARD_FILE if order.card_file else "",
        lineage=order.lineage,
        licence=order.licence,
        notes=order.notes,
    )
    return parse_manifest(draft.pretty(), f"bundle of {order.name}")


def _named(order: PackOrder, model_file: str) -> dict[str, Path]:
    """Return the name in the bundle of each file to pack; the model's comes first."""
    named = {model_file: order.model_file, **dict(_with_role(order))}
    beside = order.model_file.absolute().parent
    for extra in order.extra_files:
        place = extra.absolute()
        inner = place.relative_to(beside).as_posix() if place.is_relative_to(beside) else place.name
        path = require_inner_path(inner)
        if path in named:
            raise InvalidArgumentError(
                f"two files would be called {path} in the bundle: rename {extra}"
            )
        named[path] = extra
    for path, placed in order.placed_files.items():
        named.setdefault(require_inner_path(path), placed)
    return named


def _with_role(order: PackOrder) -> Iterator[tuple[str, Path]]:
    """Yield the files that the manifest names for what they are."""
    if order.card_file is not None:
        yield CARD_FILE, order.card_file
    if order.contract_file is not None:
        yield CONTRACT_FILE, order.contract_file
    if order.lock_file is not None:
        yield LOCK_FILE, order.lock_file
    if order.reference_file is not None:
        yield _reference_name(order.reference_file), order.reference_file


def _reference_name(file: Path) -> str:
    return f"{REFERENCE_STEM}{file.suffix.lower()}"


def _format_and_file(order: PackOrder) -> tuple[str, str]:
    """Return the model's format and the name of its file in the bundle."""
    found = format_of_file(str(order.model_file))
    config = parse_config(order.config, model=order.name)
    if config.policy.ensemble:
        raise UnsupportedError(f"the configuration is one of an ensemble: {NO_BUNDLE}")
    # A backend can serve several formats, and a configuration may name no more than the backend.
    if config.format and format_named(config.format).backend != found.backend:
        raise InvalidArgumentError(
            f"the configuration says format {config.format} and {order.model_file.name} is "
            f"{found.name}: correct backend or platform"
        )
    return found.name, config.model_file or found.default_file


def _with_new_files(found: Manifest, folder: Path, files: tuple[BundleFile, ...]) -> Manifest:
    """List what was written meanwhile, and check the whole as if it were a foreign manifest."""
    known = {file.path for file in files}
    new = tuple(hash_file(folder / path, path) for path in walk(folder) if path not in known)
    whole = found.model_copy(update={"files": (*files, *new)})
    return parse_manifest(whole.pretty(), f"bundle of {found.name}")


def _sync_tree(folder: Path) -> None:
    for inner in folder.rglob("*"):
        if inner.is_dir():
            sync_folder(inner)
    sync_folder(folder)
