"""The logs of a node's processes, bounded while those run: each keeps the last of what it was told.

None of them opens its log again, and HAProxy writes where it stopped, whatever becomes of the file:
it can be neither put aside nor emptied under them. What came before the last bytes gives its room
back to the disk and reads as zeros; places of bytes stay, so nobody who writes or follows notices.
It takes no room to do so. When the process starts again, its log begins anew (`open_log`).
"""

import asyncio
import ctypes
import os
from pathlib import Path
from typing import Final

import structlog

from serving.supervise import MAX_LOG_BYTES

LOOK_S: Final = 5.0
SECTOR_BYTES: Final = 512
"""What `st_blocks` counts, whatever the file system's blocks are."""
PUNCH_HOLE: Final = 0x02 | 0x01  # the file keeps its size

log = structlog.get_logger(__name__)


async def keep_bounded(folder: Path, kept_bytes: int = MAX_LOG_BYTES) -> None:
    """Look again and again at the logs of a folder, for ever."""
    told: set[tuple[Path, str]] = set()
    while True:
        await asyncio.sleep(LOOK_S)
        found = await asyncio.to_thread(_troubles, folder, kept_bytes)
        for path, reason in sorted(found - told):
            log.warning("log_not_bounded", path=str(path), reason=reason)
        told = found


def drop_front(path: Path, kept_bytes: int) -> int:
    """Give back what a log takes on the disk beyond twice its last bytes. Blocking.

    Returns:
        How many bytes were dropped.

    Raises:
        OSError: The file system does not do so.
    """
    if path.is_symlink() or not path.is_file():  # somebody sends it elsewhere
        return 0
    with path.open("r+b", buffering=0) as file:
        found = os.fstat(file.fileno())
        if found.st_blocks * SECTOR_BYTES <= 2 * kept_bytes:
            return 0
        begin = os.lseek(file.fileno(), 0, os.SEEK_DATA)
        end = found.st_size - kept_bytes
        if end <= begin:
            return 0
        _punch(file.fileno(), end)
    return end - begin


def _troubles(folder: Path, kept_bytes: int) -> set[tuple[Path, str]]:
    """Look at each log once; return those that are not bounded, and why."""
    found = set()
    for path in folder.glob("*.log"):
        try:
            dropped_bytes = drop_front(path, kept_bytes)
        except FileNotFoundError:  # a process that starts has just put it aside
            continue
        except OSError as error:
            found.add((path, error.strerror or repr(error)))
            continue
        if dropped_bytes:
            log.info("log_front_dropped", path=str(path), dropped_bytes=dropped_bytes)
    return found


def _punch(fd: int, end: int) -> None:
    """Call what Python has no name for, on a file's bytes before `end`."""
    call = ctypes.CDLL(None, use_errno=True).fallocate64
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if call(fd, PUNCH_HOLE, 0, end):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
