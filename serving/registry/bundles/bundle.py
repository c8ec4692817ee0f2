"""A bundle: the immutable directory of one version, verified on every read; `packing` writes one.

::

    BUNDLE/manifest.json       what the bundle is, and the size and sha256 of every other file
    BUNDLE/model.onnx …        the model, and whatever it reads beside it (external data, labels)
    BUNDLE/signature.dsse.json who vouches for all of it; only in a signed bundle, and not listed

A bundle is untrusted until `read_bundle` has returned: nothing outside the manifest may lie in it,
no link, no path that leads out of it.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.errors import NotFoundError
from serving.registry.bundles.keys import PublicKey
from serving.registry.bundles.manifest import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    SIGNATURE_FILE,
    BundleFile,
    Manifest,
    parse_manifest,
)
from serving.registry.bundles.signatures import MAX_ENVELOPE_BYTES, signers, statement
from serving.registry.ensemble import NO_BUNDLE
from serving.registry.formats import format_named
from serving.registry.model_config.parsing import parse_config

CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A verified bundle on disk."""

    folder: Path
    manifest: Manifest
    digest: str
    signers: tuple[PublicKey, ...] = ()
    """The keys that signed it, trusted or not."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all files that the manifest lists."""
        return sum(file.size_bytes for file in self.manifest.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a bundle says of itself, checked, before any other file of it was read."""

    manifest: Manifest
    raw: bytes
    """The bytes of the manifest's file: what signatures stand for."""
    envelope: bytes
    """The bytes of the signature file; empty: the bundle is not signed."""
    signers: tuple[PublicKey, ...]
    """The keys that signed it, trusted or not."""


def read_bundle(folder: Path) -> Bundle:
    """Verify a bundle byte by byte and return it.

    Raises:
        NotFoundError: There is no manifest.
        InvalidArgumentError: The manifest is wrong, or the files are not those that it lists.
    """
    head = read_head(folder)
    check_files(folder, head.manifest)
    return Bundle(
        folder=folder.absolute(),
        manifest=head.manifest,
        digest=head.manifest.digest(),
        signers=head.signers,
    )


def check_files(folder: Path, manifest: Manifest) -> None:
    """Read every file and compare it with the manifest.

    Raises:
        InvalidArgumentError: One is not the file that was packed.
    """
    for file in manifest.files:
        found = hash_file(folder / file.path, file.path)
        if found != file:
            raise InvalidArgumentError(_difference(folder, file, found))


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of `read_head`; it raises the same."""
    return read_head(folder).manifest


def read_head(folder: Path) -> Head:
    """Check a bundle's manifest and signatures, and that exactly its files are there.

    The files themselves are not read.

    Raises:
        NotFoundError: There is no manifest.
        InvalidArgumentError: It or a signature is wrong, a file is missing, or one too many.
        UnsupportedError: The format is not served.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file() or path.is_symlink():
        raise NotFoundError(f"{folder} is no bundle: it holds no {MANIFEST_FILE}")
    raw = _read_up_to(path, MAX_MANIFEST_BYTES)
    manifest = parse_manifest(raw, str(path))
    files = set(walk(folder))
    envelope, keys = b"", tuple[PublicKey, ...]()
    if SIGNATURE_FILE in files:
        envelope = _read_up_to(folder / SIGNATURE_FILE, MAX_ENVELOPE_BYTES)
        keys = signers(envelope, statement(manifest, raw), str(folder / SIGNATURE_FILE))
    format_named(manifest.format)
    listed = {file.path for file in manifest.files}
    there = files - {MANIFEST_FILE, SIGNATURE_FILE}
    for path_missing in sorted(listed - there):
        raise InvalidArgumentError(f"{folder}: {path_missing} is listed and does not exist")
    for path_extra in sorted(there - listed):
        raise InvalidArgumentError(f"{folder}: {path_extra} is not listed in {MANIFEST_FILE}")
    config = parse_config(manifest.config, model=manifest.name, source=f"{path}, config")
    if config.policy.ensemble:
        raise UnsupportedError(f"{path}, config: {NO_BUNDLE}")
    return Head(manifest=manifest, raw=raw, envelope=envelope, signers=keys)


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
            with _named(target):
                size += writer.write(chunk)
        with _named(target):
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
    with _named(target), target.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    target.chmod(0o444)


def replace_file(target: Path, content: bytes, draft_folder: Path, *, mode: int = 0o444) -> None:
    """Write a file to stable storage so that readers see the old one or the new one.

    Args:
        target: The file.
        content: Its new bytes.
        draft_folder: Where it is written before it is renamed; on the same file system.
        mode: Who may read and write it.
    """
    handle, draft = tempfile.mkstemp(dir=draft_folder, prefix=f".{target.name}.")
    try:
        with _named(target), os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        draft_file = Path(draft)
        draft_file.chmod(mode)
        draft_file.replace(target)
    except BaseException:
        Path(draft).unlink()
        raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder stable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Say which file it was that could not be written: a full disk does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(file)
        raise


def _read_up_to(file: Path, limit_bytes: int) -> bytes:
    """Return a file's bytes, or one more than the limit, which its reader refuses."""
    with file.open("rb") as stream:
        return stream.read(limit_bytes + 1)


def walk(folder: Path, prefix: str = "") -> Iterator[str]:
    """Every file below a folder by its path in the bundle; a link or device is refused."""
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda item: item.name)
    for entry in ordered:
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            yield from walk(folder / entry.name, f"{prefix}{entry.name}/")
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
