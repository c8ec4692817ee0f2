"""What a version's files must be, and whether they are: a worker asks before it loads anything.

Kept apart from `bundle.py`: a worker imports no parser of manifests.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runtimes.errors import ModelLoadError


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigest:
    """One file of a bundle, as its manifest lists it."""

    path: str
    """Relative to the bundle's folder, with `/` between its parts."""
    size_bytes: int
    sha256: str
    """In hexadecimal."""


def digest_of(place: Path, path: str) -> FileDigest:
    """Return a file's digest, under a path of its folder.

    Raises:
        OSError: It cannot be read.
    """
    with place.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return FileDigest(path=path, size_bytes=stream.tell(), sha256=digest)


def changed_files(folder: Path, files: Iterable[FileDigest]) -> Iterator[str]:
    """Name the files that are not what they were, each in half a sentence."""
    for file in files:
        try:
            found = digest_of(folder / file.path, file.path)
        except OSError as error:
            yield f"{file.path} cannot be read ({error.strerror})"
            continue
        if found != file:
            yield (
                f"{file.path} was changed: sha256 {found.sha256[:12]}… instead of "
                f"{file.sha256[:12]}…"
            )


def require_files(folder: Path, files: Iterable[FileDigest]) -> None:
    """Read every file and compare it with what was packed.

    Raises:
        ModelLoadError: A file is missing, or is not the one that was packed.
    """
    for file in files:
        place = folder / file.path
        try:
            found_bytes = place.stat().st_size
            if found_bytes != file.size_bytes:
                raise ModelLoadError(
                    f"BP-F01 {file.path}: it has {found_bytes} bytes and the manifest says "
                    f"{file.size_bytes}: push the bundle again"
                )
            with place.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise ModelLoadError(
                f"BP-F01 {file.path}: it cannot be read ({error.strerror}): push the bundle again"
            ) from error
        if found != file.sha256:
            raise ModelLoadError(
                f"BP-F01 {file.path}: its sha256 {found[:12]} differs from the manifest's "
                f"{file.sha256[:12]}, so it was changed after it was packed: push the bundle again"
            )
