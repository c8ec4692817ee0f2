"""Measures the files of a version, for preflight: what is there, what leads out, who may write it.

Bounded: a folder with too many files is refused, links are looked at and never followed.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from runtimes.errors import InvalidArgumentError
from runtimes.preflight.subject import FileFact, FolderFacts

MAX_FILES: Final = 20_000
MAX_DEPTH: Final = 32
HERE: Final = "."


def measure_bundle(
    folder: Path, model_file: str, listed: tuple[FileFact, ...], *, ignored: Iterable[str]
) -> FolderFacts:
    """Measure a bundle: everything in its folder, and the sha256 of what is listed.

    A file of another size than listed is not read: it is another file already.

    Args:
        folder: The bundle.
        model_file: The model's path in it.
        listed: What the manifest lists; without a sha256: not to be read.
        ignored: Files that are not part of the content: the manifest itself, its signature.

    Raises:
        InvalidArgumentError: The folder holds more than a bundle may.
    """
    skipped = frozenset(ignored)
    wanted = {file.path: file for file in listed}
    measured: list[FileFact] = []
    links: list[str] = []
    outside: list[str] = []
    writable, foreign = [], []
    for path, status in _walk(folder):
        if stat.S_ISLNK(status.st_mode):
            (outside if _leads_out(folder, path) else links).append(path)
            continue
        if _is_writable(status):
            writable.append(path)
        if _is_foreign(status):
            foreign.append(path)
        if stat.S_ISDIR(status.st_mode) or path in skipped:
            continue
        expected = wanted.get(path)
        is_read = expected and expected.sha256 and expected.size_bytes == status.st_size
        digest = _sha256(folder / path) if is_read else ""
        measured.append(FileFact(path=path, size_bytes=status.st_size, sha256=digest))
    return FolderFacts(
        model_file=model_file,
        listed=listed,
        measured=tuple(measured),
        links=tuple(links),
        outside=tuple(outside),
        writable=tuple(writable),
        foreign=tuple(foreign),
    )


def measure_file(file: Path, locations: Iterable[str]) -> FolderFacts:
    """Measure a model file without a manifest, and the files that it names beside it.

    Args:
        file: The model file.
        locations: Where its external data lies, relative to its folder.
    """
    folder = file.parent
    measured, outside, writable, foreign = [], [], [], []
    for path in dict.fromkeys((file.name, *locations)):
        place = Path(os.path.normpath(folder / path))
        inner = os.path.relpath(place, folder)
        if inner.startswith("..") or not place.is_file():
            continue
        if path != file.name and _leads_out(folder, inner):
            outside.append(inner)
        status = place.stat()
        measured.append(FileFact(path=inner, size_bytes=status.st_size))
        if _is_writable(status):
            writable.append(inner)
        if _is_foreign(status):
            foreign.append(inner)
    if _is_writable(folder.stat()):
        writable.insert(0, HERE)
    return FolderFacts(
        model_file=file.name,
        measured=tuple(measured),
        outside=tuple(outside),
        writable=tuple(writable),
        foreign=tuple(foreign),
    )


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file, folder and link below a folder, and the folder itself as `.`."""
    yield HERE, folder.stat()
    count = 0
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        if prefix.count("/") > MAX_DEPTH:
            raise InvalidArgumentError(f"folders stand more than {MAX_DEPTH} deep in the bundle")
        with os.scandir(folder / prefix) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            count += 1
            status = entry.stat(follow_symlinks=False)
            yield prefix + entry.name, status
            if stat.S_ISDIR(status.st_mode):
                waiting.append(f"{prefix}{entry.name}/")
        if count > MAX_FILES:
            raise InvalidArgumentError(f"the bundle holds more than {MAX_FILES} files")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _leads_out(folder: Path, path: str) -> bool:
    root = os.path.realpath(folder)
    place = os.path.realpath(folder / path)
    return os.path.commonpath((root, place)) != root


def _is_writable(status: os.stat_result) -> bool:
    """Tell whether every user may change it; a sticky folder protects what is in it."""
    is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    return bool(status.st_mode & stat.S_IWOTH) and not is_sticky


def _is_foreign(status: os.stat_result) -> bool:
    """Tell whether another user owns it, the administrator apart."""
    return status.st_uid not in {0, os.geteuid()}
