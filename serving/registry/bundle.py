"""A bundle: the immutable directory of one version, written by `pack` and verified on every read.

::

    BUNDLE/manifest.json       what the bundle is, and the size and sha256 of every other file
    BUNDLE/model.onnx …        the model, and whatever it reads beside it (external data, labels)

A bundle is untrusted until `read_bundle` has returned: nothing outside the manifest may lie in it,
no link, no path that leads out of it.
"""

import hashlib
import importlib.metadata
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from runtimes.errors import InvalidArgumentError
from serving.errors import AlreadyExistsError, NotFoundError
from serving.registry.formats import format_named, format_of_file
from serving.registry.manifest import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    BundleFile,
    Manifest,
    PackedOn,
    parse_manifest,
)
from serving.registry.triton_config import parse_config

CHUNK_BYTES: Final = 1 << 20
FINGERPRINT_PACKAGES: Final = ("bascule", "numpy", "onnxruntime", "onnxruntime-gpu", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A verified bundle on disk."""

    folder: Path
    manifest: Manifest
    digest: str

    @property
    def size_bytes(self) -> int:
        """Bytes of all files that the manifest lists."""
        return sum(file.size_bytes for file in self.manifest.files)


def _accept(_: Bundle) -> None:
    """Check nothing more than what packing checks by itself."""


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
    licence: str = ""
    notes: str = ""


def pack_bundle(
    order: PackOrder, destination: Path, check: Callable[[Bundle], None] = _accept
) -> Bundle:
    """Write a bundle; `destination` appears whole and checked, or not at all.

    Args:
        order: What to pack.
        destination: The bundle's folder.
        check: Called with the bundle before it appears; raises to refuse it.

    Raises:
        AlreadyExistsError: `destination` exists.
        NotFoundError: A file to pack does not exist.
        InvalidArgumentError: Two files have one name, the configuration is wrong, or a name is.
        UnsupportedError: The model's format is not served.
    """
    destination = destination.absolute()
    if destination.exists():
        raise AlreadyExistsError(f"{destination} exists: choose another folder with --output")
    found = format_of_file(str(order.model_file))
    config = parse_config(order.config, model=order.name)
    if config.format not in {None, found.name}:
        raise InvalidArgumentError(
            f"the configuration says format {config.format} and {order.model_file.name} is "
            f"{found.name}: correct backend or platform"
        )
    destination.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=destination.parent, prefix=f".{destination.name[:80]}."))
    try:
        model_name = config.model_file or found.default_file
        files = tuple(
            copy_file(source, staging / name, name)
            for name, source in _named(order, model_name).items()
        )
        manifest = checked_manifest(order, found.name, model_name, files)
        write_file(staging / MANIFEST_FILE, manifest.pretty())
        sync_folder(staging)
        check(Bundle(folder=staging, manifest=manifest, digest=manifest.digest()))
        staging.chmod(0o755)
        staging.rename(destination)
    except BaseException:
        shutil.rmtree(staging)
        raise
    sync_folder(destination.parent)
    return Bundle(folder=destination, manifest=manifest, digest=manifest.digest())


def renumber(bundle: Bundle, version: int, destination: Path) -> Bundle:
    """Write a bundle's files once more, as another version of the model."""
    manifest = bundle.manifest.model_copy(update={"version": version})
    shutil.copytree(bundle.folder, destination)
    (destination / MANIFEST_FILE).unlink()
    write_file(destination / MANIFEST_FILE, manifest.pretty())
    return Bundle(folder=destination, manifest=manifest, digest=manifest.digest())


def read_bundle(folder: Path) -> Bundle:
    """Verify a bundle byte by byte and return it.

    Raises:
        NotFoundError: There is no manifest.
        InvalidArgumentError: The manifest is wrong, or the files are not those that it lists.
    """
    manifest = read_manifest(folder)
    for file in manifest.files:
        found = hash_file(folder / file.path, file.path)
        if found != file:
            raise InvalidArgumentError(_difference(folder, file, found))
    return Bundle(folder=folder.absolute(), manifest=manifest, digest=manifest.digest())


def read_manifest(folder: Path) -> Manifest:
    """Check a bundle's manifest and that exactly its files are there, without reading them.

    Raises:
        NotFoundError: There is no manifest.
        InvalidArgumentError: It is wrong, a file is missing, or one too many is there.
        UnsupportedError: The format is not served.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file() or path.is_symlink():
        raise NotFoundError(f"{folder} is no bundle: it holds no {MANIFEST_FILE}")
    with path.open("rb") as stream:
        manifest = parse_manifest(stream.read(MAX_MANIFEST_BYTES + 1), str(path))
    format_named(manifest.format)
    listed = {file.path for file in manifest.files}
    there = set(_walk(folder)) - {MANIFEST_FILE}
    for path_missing in sorted(listed - there):
        raise InvalidArgumentError(f"{folder}: {path_missing} is listed and does not exist")
    for path_extra in sorted(there - listed):
        raise InvalidArgumentError(f"{folder}: {path_extra} is not listed in {MANIFEST_FILE}")
    parse_config(manifest.config, model=manifest.name, source=f"{path}, config")
    return manifest


def copy_file(source: Path, target: Path, path: str) -> BundleFile:
    """Copy a file to stable storage and return what was copied, measured on the way.

    Raises:
        NotFoundError: The source is no file.
    """
    if not source.is_file():
        raise NotFoundError(f"{source} is no file that can be read")
    digest = hashlib.sha256()
    size = 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(CHUNK_BYTES):
            digest.update(chunk)
            size += writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    target.chmod(0o444)
    return BundleFile(path=path, size_bytes=size, sha256=digest.hexdigest())


def hash_file(file: Path, path: str) -> BundleFile:
    """Measure a file; `path` is its name in the bundle."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
        size = stream.tell()
    return BundleFile(path=path, size_bytes=size, sha256=digest.hexdigest())


def write_file(target: Path, content: bytes) -> None:
    """Write a new file to stable storage."""
    with target.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    target.chmod(0o444)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder stable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


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
        packed_on=packed_here(),
        licence=order.licence,
        notes=order.notes,
    )
    return parse_manifest(draft.pretty(), f"bundle of {order.name}")


def packed_here() -> PackedOn:
    """Describe this environment."""
    return PackedOn(
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: version for name in FINGERPRINT_PACKAGES if (version := _installed(name))},
    )


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _named(order: PackOrder, model_file: str) -> dict[str, Path]:
    """Return the name in the bundle of each file to pack."""
    named = {model_file: order.model_file}
    beside = order.model_file.absolute().parent
    for extra in order.extra_files:
        place = extra.absolute()
        path = place.relative_to(beside).as_posix() if place.is_relative_to(beside) else place.name
        if path in named:
            raise InvalidArgumentError(
                f"two files would be called {path} in the bundle: rename {extra}"
            )
        named[path] = extra
    return named


def _walk(folder: Path, prefix: str = "") -> Iterator[str]:
    """Every file below a folder by its path in the bundle; a link or device is refused."""
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda item: item.name)
    for entry in ordered:
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
        elif stat.S_ISREG(mode):
            yield prefix + entry.name
        else:
            raise InvalidArgumentError(
                f"{entry.path} is a link or no plain file: a bundle holds plain files only"
            )


def _difference(folder: Path, listed: BundleFile, found: BundleFile) -> str:
    return (
        f"{folder / listed.path} is not the file that was packed: {found.size_bytes} bytes with "
        f"sha256 {found.sha256[:12]}…, where the manifest lists {listed.size_bytes} bytes with "
        f"{listed.sha256[:12]}…: pack or copy the bundle again"
    )
