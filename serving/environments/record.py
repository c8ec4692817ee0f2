"""A finished environment, as its own mark file describes it."""

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

MARK_FILE: Final = "environment.json"
"""Written last: a folder without it is no environment yet, or no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A finished environment."""

    key: str
    folder: str
    """Absolute path."""
    packages: tuple[str, ...]
    """What was installed: `name==version`."""
    python_version: str
    build_s: float
    size_bytes: int

    @property
    def python(self) -> Path:
        """Where its interpreter lies."""
        return interpreter(Path(self.folder))


def read_mark(folder: Path) -> Environment | None:
    """Read the mark of an environment; None where there is none, or it is damaged."""
    try:
        return msgspec.json.decode((folder / MARK_FILE).read_bytes(), type=Environment)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None  # cut off by a loss of power, say: then nobody can tell what is in it


def write_mark(folder: Path, environment: Environment) -> None:
    """Write the mark of an environment when all of it is on the disk, and not before.

    Raises:
        OSError: It cannot be written.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fresh = folder / f"{MARK_FILE}.new"
    with fresh.open("wb") as stream:
        stream.write(msgspec.json.encode(environment))
        stream.flush()
        # Everything that pip wrote: a mark must not outlive a loss of power that they do not.
        if libc.syncfs(stream.fileno()) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    fresh.rename(folder / MARK_FILE)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def interpreter(folder: Path) -> Path:
    """Return where the interpreter of an environment lies."""
    return folder / "bin" / "python"
