"""The environments of one home: which there are, where the one for a lock lies, which may go.

::

    BASCULE_HOME/environments/KEY/                   a virtual environment
    BASCULE_HOME/environments/KEY/environment.json   written last: without it, it is not there
    BASCULE_HOME/environments/KEY.lock               held by whoever builds or removes it

KEY is made from the pins that apply here, the Python version and the environment that Bascule
itself runs in, so a lock has one environment however many versions share it, and none is ever
used with another Python. An environment never changes once it is there.
"""

import fcntl
import hashlib
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from serving.environments.record import MARK_FILE, Environment, interpreter, read_mark
from serving.registry.bundles.pins import Pin, applicable, node_environment

FOLDER: Final = "environments"
KEY_LETTERS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An environment that was not removed, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """What became of the environments."""

    removed: tuple[str, ...]
    kept: tuple[Kept, ...]


class Environments:
    """The environments below one folder. Blocking; safe for several processes at once."""

    def __init__(self, home: Path) -> None:
        """Remember the folder; nothing is created.

        Args:
            home: BASCULE_HOME.
        """
        self.folder = home.absolute() / FOLDER

    def find(self, pins: Sequence[Pin]) -> Environment | None:
        """Return the environment for a lock; None if it is not built."""
        return self._read(self.folder / environment_key(pins))

    def listed(self) -> tuple[Environment, ...]:
        """Return every finished environment, by key."""
        folders = sorted(self.folder.glob(f"*/{MARK_FILE}"))
        found = (self._read(mark.parent) for mark in folders)
        return tuple(item for item in found if item is not None)

    def clear(self) -> Cleared:
        """Remove every environment that no process of this machine runs in, half-built ones too."""
        if not self.folder.is_dir():
            return Cleared(removed=(), kept=())
        removed: list[str] = []
        kept: list[Kept] = []
        for folder in sorted(item for item in self.folder.iterdir() if item.is_dir()):
            reason = self._remove(folder)
            if reason:
                kept.append(Kept(key=folder.name, reason=reason))
            else:
                removed.append(folder.name)
        return Cleared(removed=tuple(removed), kept=tuple(kept))

    @contextmanager
    def locked(self, key: str, *, is_patient: bool = True) -> Iterator[bool]:
        """Hold the lock of an environment; gives whether it could be had.

        Args:
            key: The environment's.
            is_patient: Wait for whoever holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{key}.lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if is_patient else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True

    def _remove(self, folder: Path) -> str:
        """Remove one environment, or say why it stays."""
        with self.locked(folder.name, is_patient=False) as is_ours:
            if not is_ours:
                return "it is being built"
            pids = _pids_in(folder)
            if pids:
                return f"process {pids[0]} runs in it"
            # Without its mark it is not there any more, even if what follows is interrupted.
            (folder / MARK_FILE).unlink(missing_ok=True)
            shutil.rmtree(folder)
        return ""

    def _read(self, folder: Path) -> Environment | None:
        """Read an environment's mark; one that is damaged is as none, and is built again."""
        found = read_mark(folder)
        return found if found is not None and interpreter(folder).exists() else None


def environment_key(pins: Sequence[Pin]) -> str:
    """Return the name of the environment for a lock, here."""
    lines = sorted(pin.text() for pin in applicable(pins, node_environment()))
    built_of = "\n".join((platform.python_version(), platform.machine(), sys.prefix, *lines))
    return hashlib.sha256(built_of.encode()).hexdigest()[:KEY_LETTERS]


def _pids_in(folder: Path) -> list[int]:
    """Processes whose program is the environment's interpreter."""
    program = str(interpreter(folder))
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"]
        if command and command[0] == program:
            found.append(process.pid)
    return found
