"""Opens the zip archives that models come in: bounded, and only plain members inside."""

import lzma
import zipfile
import zlib
from pathlib import Path
from typing import IO, Final

MAX_MEMBERS: Final = 100_000
MAX_RATIO: Final = 200
"""Of a compressed member: code compresses 10 times, a bomb a thousand times."""
SMALL_BYTES: Final = 1 << 20
"""Members below this size may compress as they like."""
_ENCRYPTED: Final = 0x1
DAMAGED: Final = (
    KeyError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    OSError,
)


class HostileArchiveError(ValueError):
    """An archive that is built to harm its reader."""


def open_archive(file: Path | IO[bytes]) -> zipfile.ZipFile:
    """Open an archive and look at its directory only.

    Raises:
        HostileArchiveError: It is encrypted, a bomb, or has names that lead out of it.
        ValueError: It is damaged, or has too many members.
    """
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError) as error:
        raise ValueError("it is cut off, or a damaged zip archive") from error
    try:
        _check(archive.infolist())
    except ValueError:
        archive.close()
        raise
    return archive


def read_member(archive: zipfile.ZipFile, name: str, limit_bytes: int) -> bytes:
    """Return a member's bytes; at most `limit_bytes`, whatever the directory says.

    Raises:
        ValueError: It is larger, missing or damaged.
    """
    try:
        with archive.open(name) as stream:
            raw = stream.read(limit_bytes + 1)
    except DAMAGED as error:
        raise ValueError(f"its member {name[:80]} is missing or damaged") from error
    if len(raw) > limit_bytes:
        raise ValueError(f"its member {name[:80]} has more than {limit_bytes} bytes")
    return raw


def _check(members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_MEMBERS:
        raise HostileArchiveError(f"it has {len(members)} members, at most {MAX_MEMBERS}")
    for member in members:
        name = member.filename
        if name.startswith("/") or "\\" in name or ".." in name.split("/") or "\0" in name:
            raise HostileArchiveError(f"its member {name[:80]!r} leads out of the archive")
        if member.flag_bits & _ENCRYPTED:
            raise HostileArchiveError(f"its member {name[:80]} is encrypted")
        if member.file_size > SMALL_BYTES and member.file_size > MAX_RATIO * max(
            1, member.compress_size
        ):
            raise HostileArchiveError(
                f"its member {name[:80]} grows from {member.compress_size} to {member.file_size} "
                "bytes: a zip bomb"
            )
