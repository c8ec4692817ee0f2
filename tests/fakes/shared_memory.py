"""Shared-memory objects that are gone when a test ends."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = Path("/dev/shm")  # noqa: S108  where shm_open opens


@contextmanager
def shared_object(size_bytes: int, prefix: str = "/bascule-test-") -> Iterator[str]:
    """Make an object of zeros; gives its key."""
    key = f"{prefix}{uuid.uuid4().hex[:12]}"
    path = FOLDER / key[1:]
    with path.open("wb") as file:
        file.truncate(size_bytes)
    try:
        yield key
    finally:
        path.unlink(missing_ok=True)


def put(key: str, content: bytes, offset: int = 0) -> None:
    """Write into an object, as a client does."""
    with (FOLDER / key[1:]).open("r+b") as file:
        os.pwrite(file.fileno(), content, offset)


def get(key: str, size_bytes: int, offset: int = 0) -> bytes:
    """Read from an object."""
    with (FOLDER / key[1:]).open("rb") as file:
        return os.pread(file.fileno(), size_bytes, offset)


def truncate(key: str, size_bytes: int) -> None:
    """Make an object shorter or longer."""
    os.truncate(FOLDER / key[1:], size_bytes)


def unlink(key: str) -> None:
    """Take an object's name away."""
    (FOLDER / key[1:]).unlink()
