"""POSIX shared memory of clients: which keys are allowed, and what is opened once to see it."""

import os
import stat
from pathlib import Path
from typing import Final

from runtimes.errors import InvalidArgumentError
from serving.wire.region_table import Region

FOLDER: Final = Path("/dev/shm")  # noqa: S108  where the C library's shm_open opens
FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
MAX_NAME_BYTES: Final = 255


def checked_key(key: str, prefixes: tuple[str, ...]) -> str:
    """Return a key in its usual spelling.

    Raises:
        InvalidArgumentError: It is no key, or starts with none of the prefixes.
    """
    full = "/" + key.removeprefix("/")
    plain = full[1:]
    is_name = plain not in {"", ".", ".."} and not {"/", "\0"} & set(plain)
    if not is_name or len(plain.encode(errors="replace")) > MAX_NAME_BYTES:
        raise InvalidArgumentError(
            f"Unable to open shared memory region: '{key[:256]}': a key is '/' and a name "
            f"without slashes, of {MAX_NAME_BYTES} bytes at most"
        )
    if not full.startswith(prefixes):
        raise InvalidArgumentError(
            f"Unable to open shared memory region: '{key}': this server takes keys that start "
            f"with {' or '.join(prefixes)} (BASCULE_SHARED_MEMORY_PREFIXES)"
        )
    return full


def opened_region(name: str, key: str, offset: int, size_bytes: int) -> Region:
    """Open a key once, to see that it exists and is long enough.

    Raises:
        InvalidArgumentError: It cannot be opened, or is too short.
    """
    try:
        descriptor = os.open(FOLDER / key[1:], FLAGS)
    except OSError as error:
        raise InvalidArgumentError(
            f"Unable to open shared memory region: '{key}': {error.strerror}"
        ) from error
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise InvalidArgumentError(f"Unable to open shared memory region: '{key}': it is no object")
    if min(offset, size_bytes - 1) < 0 or offset + size_bytes > found.st_size:
        raise InvalidArgumentError(
            f"failed to register shared memory region '{name}': invalid args (offset {offset} and "
            f"byte size {size_bytes} in an object of {found.st_size} bytes)"
        )
    return Region(
        name=name,
        key=key,
        offset=offset,
        size_bytes=size_bytes,
        device=found.st_dev,
        inode=found.st_ino,
    )
