"""What an instance's processes log, copied to standard error as JSON: containers' logs are there.

The files are followed, and stay what processes write to: none of them ever waits for whoever reads
standard error. Only a thread does, for which nobody waits at the end for long.
"""

import os
import re
import select
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import structlog

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.2
"""Between two looks at the files."""
LAST_LINES_S: Final = 2.0
"""For what was logged last to be copied, at the end; a reader who does not read gets it not."""
MAX_LINE_BYTES: Final = 1 << 20
"""A longer line is copied in pieces."""
STDERR: Final = 2
NOTHING: Final = b"\0"
"""What was dropped (`edge/bounded_logs.py`) before a reader who does not read was told of it."""
IDLE_SLOT: Final = re.compile(rb"Proxy s\d+ stopped \(cumulated conns: FE: 0, BE: 0\)")
"""HAProxy says so of hundreds of slots as it ends: whoever asks why would see nothing else."""


@contextmanager
def copied_logs(folder: Path) -> Iterator[None]:
    """Copy to standard error what is logged in a folder until the block ends, and at its end.

    What its files hold already was logged by an earlier instance.
    """
    followed, has_ended = FollowedLogs(folder, write_whole), threading.Event()
    thread = threading.Thread(target=_copy, args=(followed, has_ended), name="logs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join(LAST_LINES_S)


def write_whole(lines: bytes, fd: int = STDERR) -> None:
    """Write all, also where whoever started us wants no write to wait."""
    rest = memoryview(lines)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            select.select((), (fd,), ())


def as_json(process: str, line: bytes) -> bytes:
    """Return a line of a log as JSON that says whose it is; text is its `event`."""
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = None
    said = found if isinstance(found, dict) else {"event": line.decode(errors="replace")}
    return msgspec.json.encode({"process": process} | said) + b"\n"


class FollowedLogs:
    """The logs of a folder, each read on from where the last look ended. Blocking."""

    def __init__(self, folder: Path, write: Callable[[bytes], None]) -> None:
        """Begin at the ends of the files that are there."""
        self._folder = folder
        self._write = write
        self._logs: dict[Path, _FollowedLog] = {}
        for path in folder.glob("*.log"):
            with suppress(OSError):  # `copy` will tell, if it stays so
                self._logs[path] = _FollowedLog(path, is_new=False)

    def copy(self) -> None:
        """Hand over what was logged since, whole lines only.

        Raises:
            OSError: A log cannot be read, or nobody takes its lines.
        """
        for path in sorted(self._folder.glob("*.log")):
            known = self._logs.get(path)
            if known is not None:
                known.copy(self._write)
                if not known.was_replaced():
                    continue
                known.close(self._write)
            self._logs[path] = _FollowedLog(path, is_new=True)
            self._logs[path].copy(self._write)

    def close(self) -> None:
        """Hand over what has no end of line yet, and let the files go."""
        with ExitStack() as closing_all:
            for known in self._logs.values():
                closing_all.callback(known.close, self._write)
            self._logs.clear()


class _FollowedLog:
    """One file, open."""

    def __init__(self, path: Path, *, is_new: bool) -> None:
        self._path = path
        self._file: BinaryIO = path.open("rb")
        self._file.seek(0, os.SEEK_SET if is_new else os.SEEK_END)
        self._begun = b""

    def was_replaced(self) -> bool:
        """Whether another file has its name now, and nobody writes to this one any more.

        A large one is put aside when its process has ended, and before the next one starts.
        """
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return False
        return found.st_ino != os.fstat(self._file.fileno()).st_ino

    def copy(self, write: Callable[[bytes], None]) -> None:
        if os.fstat(self._file.fileno()).st_size < self._file.tell():  # somebody emptied it
            self._file.seek(0)
        while read := self._file.read(MAX_LINE_BYTES):
            *lines, self._begun = (self._begun + read).split(b"\n")
            if len(self._begun) > MAX_LINE_BYTES:
                lines, self._begun = [*lines, self._begun], b""
            self._hand_over(lines, write)

    def close(self, write: Callable[[bytes], None]) -> None:
        try:
            self._hand_over([self._begun], write)
        finally:
            self._file.close()

    def _hand_over(self, lines: list[bytes], write: Callable[[bytes], None]) -> None:
        told = (line.lstrip(NOTHING) for line in lines)
        copied = b"".join(as_json(self._path.stem, line) for line in told if _is_told(line))
        if copied:
            write(copied)


def _is_told(line: bytes) -> bool:
    return bool(line.strip()) and not IDLE_SLOT.search(line)


def _copy(followed: FollowedLogs, has_ended: threading.Event) -> None:
    try:
        with closing(followed):
            while not has_ended.wait(LOOK_S):
                followed.copy()
            followed.copy()
    except OSError as error:
        log.warning("logs_no_longer_copied", reason=str(error))
