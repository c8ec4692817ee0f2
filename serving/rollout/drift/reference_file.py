"""A reference on disk that may not be there yet, or be damaged: read again when that may help.

::

    read ──► cannot be read ──► another file, or a pause is over (twice as long each time) ──► read

Blocks; for one thread.
"""

from pathlib import Path
from typing import Final, NamedTuple

from runtimes.errors import BasculeError
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.storage import from_bytes

FIRST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 300.0
"""What a disk could not read at one moment may be readable later, though the file is the same."""


class _Mark(NamedTuple):
    """What differs when a file was changed, replaced, or may be read now."""

    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int


class ReferenceFile:
    """The reference of one version."""

    def __init__(self) -> None:
        """Have read nothing yet."""
        self.trouble = ""
        """Why it cannot be read; empty: it was, or was not tried."""
        self._mark: _Mark | None = None
        self._pause_s = 0.0
        self._again_s = 0.0

    def read(self, path: Path, now_s: float) -> Profile | None:
        """Read it, unless that would only fail as it did before; None: `trouble` says why not.

        Args:
            path: Where it is.
            now_s: Monotonic.
        """
        mark = _mark_of(path)  # before it is read: what is written meanwhile is seen the next time
        is_same = bool(self.trouble) and mark == self._mark
        if is_same and now_s < self._again_s:
            return None
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S) if is_same else FIRST_PAUSE_S
        self._mark, self._again_s = mark, now_s + self._pause_s
        try:
            profile = from_bytes(path.read_bytes())
        except (BasculeError, OSError) as error:
            self.trouble = str(error)
            return None
        self.trouble = ""
        return profile


def _mark_of(path: Path) -> _Mark | None:
    """Return a file's mark; None: nothing can be said of it, and reading it says why."""
    try:
        found = path.stat()
    except OSError:
        return None
    return _Mark(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
