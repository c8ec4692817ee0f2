"""The bundles of a registry, by digest: each lies there whole and verified, or not at all.

A bundle is copied into a staging folder, measured on the way, and renamed into place. Whoever dies
in between leaves a staging folder whose lock nobody holds; the next push clears it away.
"""

import fcntl
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.registry.bundle import (
    Bundle,
    copy_file,
    read_bundle,
    read_manifest,
    sync_folder,
    write_file,
)
from serving.registry.manifest import MANIFEST_FILE

LOCK_FILE: Final = ".lock"


class Blobs:
    """Bundles under one folder. Safe for several processes at once."""

    def __init__(self, root: Path) -> None:
        """Create the folders where they are missing."""
        self._bundles = root / "bundles"
        self._staging = root / "staging"
        self._gate = root / "staging.lock"
        for folder in (self._bundles, self._staging):
            folder.mkdir(parents=True, exist_ok=True)

    def folder(self, digest: str) -> Path:
        """Return where the bundle of that digest lies, or would."""
        return self._bundles / digest

    def add(self, source: Path) -> Bundle:
        """Copy a bundle in, verifying it on the way; a damaged copy of it is replaced.

        Raises:
            NotFoundError: `source` is no bundle.
            InvalidArgumentError: It is damaged.
        """
        target = self.folder(read_manifest(source).digest())
        damaged = False
        if target.exists():
            read_bundle(source)
            try:
                return read_bundle(target)
            except BasculeError:
                damaged = True
        with self._staged() as staging:
            staged = _copied(source, staging / "bundle")
            if damaged:
                target.rename(staging / "damaged")
            try:
                staged.folder.rename(target)
            except OSError:
                # Another push of the same bytes was faster.
                if not target.exists():
                    raise
            sync_folder(self._bundles)
        return Bundle(folder=target, manifest=staged.manifest, digest=staged.digest)

    def discard(self, digest: str) -> None:
        """Remove a bundle that no version of the catalog names."""
        with self._staged() as staging:
            try:
                self.folder(digest).rename(staging / "discarded")
            except FileNotFoundError:
                return

    @contextmanager
    def _staged(self) -> Iterator[Path]:
        """A folder of our own, marked as in use by a lock that ends with this process."""
        staging = self._staging / uuid.uuid4().hex
        with self._gate.open("a") as gate:
            # Behind the gate nobody sees a folder that has no lock yet and takes it for abandoned.
            fcntl.flock(gate, fcntl.LOCK_EX)
            self._clear_abandoned()
            staging.mkdir()
            lock = (staging / LOCK_FILE).open("w")
            fcntl.flock(lock, fcntl.LOCK_EX)
        with lock:
            try:
                yield staging
            finally:
                shutil.rmtree(staging)

    def _clear_abandoned(self) -> None:
        for staging in sorted(self._staging.iterdir()):
            try:
                with (staging / LOCK_FILE).open("r+") as lock:
                    abandoned = _locked_at_once(lock)
            except FileNotFoundError:
                abandoned = True
            if abandoned:
                # Its owner may have ended, and be removing it, at this very moment.
                shutil.rmtree(staging, ignore_errors=True)


def _locked_at_once(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _copied(source: Path, target: Path) -> Bundle:
    manifest = read_manifest(source)
    folders = {target}
    for file in manifest.files:
        place = target / file.path
        found = copy_file(source / file.path, place, file.path)
        if found != file:
            raise InvalidArgumentError(
                f"{source / file.path} is not the file that was packed ({found.size_bytes} bytes, "
                f"manifest: {file.size_bytes}): pack or copy the bundle again"
            )
        folders.update(parent for parent in place.parents if parent.is_relative_to(target))
    write_file(target / MANIFEST_FILE, manifest.pretty())
    for folder in folders:
        sync_folder(folder)
    return Bundle(folder=target, manifest=manifest, digest=manifest.digest())
