"""What lies in the folders of a repository: names, sizes and times; no file is read."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from runtimes.errors import InvalidArgumentError
from serving.ids import MAX_VERSION
from serving.registry.contracts.kept_contract import CONTRACT_FILE
from serving.registry.model_config.parsing import ModelConfiguration
from serving.registry.stored_version import REFERENCE_FILE
from serving.registry.version import WARMUP_FOLDER


@dataclass(frozen=True, slots=True)
class RepositoryFile:
    """A file as the file system tells of it."""

    path: str
    """Relative to the version's folder."""
    size_bytes: int
    mtime_ns: int


def version_numbers(folder: Path) -> tuple[int, ...]:
    """Return the versions of a model's folder, rising.

    Raises:
        OSError: It cannot be read.
    """
    with os.scandir(folder) as entries:
        return tuple(
            sorted(
                int(item.name)
                for item in entries
                if item.name.isascii()
                and item.name.isdigit()
                and not item.name.startswith("0")
                and int(item.name[:20]) <= MAX_VERSION
                and is_folder(item)
            )
        )


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether something is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or into what nobody may read: it hides nothing else
        return False


def files_of(folder: Path, prefix: str = "") -> Iterator[RepositoryFile]:
    """Yield every file below a folder, by path; linked files are followed, linked folders not.

    Raises:
        OSError: It, or something in it, cannot be read.
    """
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda item: item.name)
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        if entry.is_file():
            status = entry.stat()
            yield RepositoryFile(prefix + entry.name, status.st_size, status.st_mtime_ns)
        elif entry.is_dir(follow_symlinks=False):
            yield from files_of(folder / entry.name, f"{prefix}{entry.name}/")


def shared_files(folder: Path, config: ModelConfiguration) -> Iterator[RepositoryFile]:
    """Yield what the versions of a model read besides their own folders, as far as it is there."""
    named = [CONTRACT_FILE, REFERENCE_FILE, *(one.file for one in config.policy.labels)]
    named += [
        f"{WARMUP_FOLDER}/{one.file}"
        for sample in config.policy.warmups
        for one in sample.inputs
        if one.file
    ]
    named += () if config.policy.sequences is None else config.policy.sequences.files
    for path in dict.fromkeys(named):
        try:
            status = (folder / path).stat()
        except OSError:
            continue  # its worker says so
        yield RepositoryFile(f"../{path}", status.st_size, status.st_mtime_ns)


def require_utf8(path: str) -> None:
    """Refuse a name that no JSON can carry: it would end who tells it on.

    Raises:
        InvalidArgumentError: It is not UTF-8.
    """
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{path!a} is not UTF-8: rename it") from None


def digest_of_files(files: Iterable[RepositoryFile], config_text: str) -> str:
    """Return what stands for a version: another one means that something has changed."""
    digest = hashlib.sha256(config_text.encode())
    for item in files:
        digest.update(
            f"\0{item.path}\0{item.size_bytes}\0{item.mtime_ns}".encode("utf-8", "replace")
        )
    return digest.hexdigest()
