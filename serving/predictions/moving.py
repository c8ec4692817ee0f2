"""Moves finished segments to where they are kept, by fsspec; blocks, and belongs to one thread.

Of all workers of a node one moves at a time, whoever comes first. What cannot be moved stays in the
folder, within its bound, and is tried again.
"""

import fcntl
import os
from pathlib import Path
from typing import Any, Final

import fsspec
import structlog

from serving.predictions.folder import FILE_MODE, FINISHED, Bounds, age_order, created_ms

MOVER: Final = ".mover"
TEND_MS: Final = 300_000
"""The place is kept within its bounds so often, although nothing is moved."""

log = structlog.get_logger(__name__)


class Mover:
    """Moves one folder's finished segments to a URL, and keeps that one within its bounds."""

    def __init__(self, folder: Path, url: str, bounds: Bounds) -> None:
        """Move nothing yet."""
        self._folder = folder
        self._url = url
        self._bounds = bounds
        self._tended_ms = 0

    def move(self, now_ms: int) -> int:
        """Move what is finished; returns how many segments were moved.

        Raises:
            OSError: The place cannot be reached or written. Stores of fsspec raise others as well.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._folder / MOVER, flags, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._move(now_ms)
        except BlockingIOError:
            return 0
        finally:
            os.close(descriptor)

    def _move(self, now_ms: int) -> int:
        finished = sorted(self._folder.glob(f"*{FINISHED}"))
        self._tended_ms = self._tended_ms or now_ms
        if not finished and now_ms - self._tended_ms < TEND_MS:
            return 0
        self._tended_ms = now_ms
        store, root = fsspec.core.url_to_fs(self._url)
        store.makedirs(root, exist_ok=True)
        for path in finished:
            store.put_file(str(path), f"{root}/{path.name}")
            path.unlink(missing_ok=True)
        self._let_go(store, root, now_ms)
        return len(finished)

    def _let_go(self, store: Any, root: str, now_ms: int) -> None:  # noqa: ANN401  fsspec has no types
        store.invalidate_cache(root)
        there = {
            Path(item["name"]).name: int(item["size"] or 0)
            for item in store.ls(root, detail=True)
            if item["type"] == "file" and created_ms(Path(item["name"]).name)
        }
        used = sum(there.values())
        oldest_ms = now_ms - self._bounds.retention_s * 1e3
        for name in sorted(there, key=lambda name: age_order(name, now_ms)):
            if used <= self._bounds.max_bytes and created_ms(name) >= oldest_ms:
                continue
            if created_ms(name) >= oldest_ms:
                max_bytes = self._bounds.max_bytes
                log.warning("prediction_log_made_room", segment=name, max_bytes=max_bytes)
            store.rm_file(f"{root}/{name}")
            used -= there[name]
