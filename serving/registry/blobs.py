"""The bundles of a registry, by digest: each lies there whole and verified, or not at all.

A bundle is copied into a staging folder, measured on the way, and renamed into place. Whoever dies
in between leaves a staging folder whose lock nobody holds; the next push clears it away.
"""

import errno
import fcntl
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Final

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.registry.bundles.bundle import (
    Bundle,
    Head,
    copy_file,
    read_bundle,
    read_head,
    replace_file,
    sync_folder,
    write_file,
)
from serving.registry.bundles.manifest import MANIFEST_FILE, SIGNATURE_FILE
from serving.registry.bundles.signatures import merged, statement

LOCK_SUFFIX: Final = ".lock"


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

    def has(self, digest: str) -> bool:
        """Whether the bundle is there: as a whole, since it appears by one rename."""
        return self.folder(digest).is_dir()

    def digests(self) -> frozenset[str]:
        """Return the digests of all bundles that are there."""
        return frozenset(entry.name for entry in self._bundles.iterdir())

    def size_bytes(self, digest: str) -> int:
        """Return the bytes of a bundle's files; 0: it is not there."""
        return sum(path.stat().st_size for path in self.folder(digest).rglob("*") if path.is_file())

    def check(self, digest: str) -> Bundle:
        """Read a bundle byte by byte.

        Raises:
            NotFoundError: It is not there.
            InvalidArgumentError: It is damaged.
        """
        return read_bundle(self.folder(digest))

    def add(self, source: Path) -> Bundle:
        """Copy a bundle in, verifying it on the way.

        Of a bundle that is there already, a damaged copy is replaced, and a sound one gets the
        signatures that it lacks.

        Raises:
            NotFoundError: `source` is no bundle.
            InvalidArgumentError: It is damaged.
        """
        self.clear_abandoned()
        head = read_head(source)
        target = self.folder(head.manifest.digest())
        replaced = False
        if target.exists():
            read_bundle(source)
            kept = self._kept_with_signatures(target, head)
            if kept is not None:
                return kept
            replaced = True
        with self._staged() as staging:
            staged = _copied(source, head, staging / "bundle")
            if replaced:
                with suppress(FileNotFoundError):  # a collection was faster
                    target.rename(staging / "replaced")
            _put(staged.folder, target)
        return replace(staged, folder=target)

    def _kept_with_signatures(self, target: Path, head: Head) -> Bundle | None:
        """Add a bundle's signatures to the stored one; None: that is damaged, or has just gone."""
        try:
            kept = read_bundle(target)
            stored = read_head(target)
        except (BasculeError, OSError):
            return None
        if set(head.signers) <= set(stored.signers):
            return kept
        if head.raw != stored.raw:
            # The same values in other bytes, which is not what was signed.
            return kept if stored.envelope else None
        envelopes = [raw for raw in (stored.envelope, head.envelope) if raw]
        envelope = merged(statement(head.manifest, head.raw), envelopes)
        try:
            with self._staged() as staging:
                replace_file(target / SIGNATURE_FILE, envelope, staging)
        except FileNotFoundError:
            return None
        return replace(kept, signers=tuple(dict.fromkeys((*stored.signers, *head.signers))))

    def adopt(self, digest: str, fill: Callable[[Path], None]) -> Bundle:
        """Take a bundle in that a function writes into a folder; it appears verified, or not.

        Raises:
            InvalidArgumentError: What was written is damaged, or another bundle.
        """
        with self._staged() as staging:
            place = staging / "bundle"
            fill(place)
            found = read_bundle(place)
            if found.digest != digest:
                raise InvalidArgumentError(
                    f"bundle {digest[:12]} was asked for and {found.digest[:12]} was found in its "
                    "place: push the version again"
                )
            _put(place, self.folder(digest))
        return replace(found, folder=self.folder(digest))

    def discard(self, digest: str) -> None:
        """Remove a bundle that no version of the catalog names."""
        with self._staged() as staging:
            try:
                self.folder(digest).rename(staging / "discarded")
            except FileNotFoundError:
                return

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for a bundle to be; what a killed process leaves there the next push clears."""
        self.clear_abandoned()
        with self._staged() as staging:
            yield staging

    @contextmanager
    def _staged(self) -> Iterator[Path]:
        """A folder of our own, beside a file whose lock ends with this process."""
        staging = self._staging / uuid.uuid4().hex
        lock_file = staging.with_suffix(LOCK_SUFFIX)
        with self._gated():
            lock = lock_file.open("w")
            fcntl.flock(lock, fcntl.LOCK_EX)
        with lock:
            try:
                staging.mkdir()
                yield staging
            finally:
                shutil.rmtree(staging)
                lock_file.unlink()

    @contextmanager
    def _gated(self) -> Iterator[None]:
        """One process at a time: nobody sees a lock file that is not locked yet."""
        with self._gate.open("a") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            yield

    def clear_abandoned(self) -> int:
        """Remove what killed processes left half done; return how many of them left something."""
        with self._gated():
            return sum(_clear_if_abandoned(file) for file in self._lock_files())

    def count_abandoned(self) -> int:
        """Count the processes that left something half done and are gone."""
        with self._gated():
            return sum(_is_abandoned(file) for file in self._lock_files())

    def _lock_files(self) -> tuple[Path, ...]:
        return tuple(self._staging.glob(f"*{LOCK_SUFFIX}"))


def _put(bundle: Path, target: Path) -> None:
    """Let a bundle appear, unless another process that brought the same bytes was faster."""
    try:
        bundle.rename(target)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
    sync_folder(target.parent)


def _clear_if_abandoned(lock_file: Path) -> bool:
    try:
        with lock_file.open("r+") as lock:
            if not _locked_at_once(lock):
                return False
            # The folder may be gone: its owner ended between removing both.
            shutil.rmtree(lock_file.with_suffix(""), ignore_errors=True)
            lock_file.unlink()
    except FileNotFoundError:
        return False  # its owner has just removed it
    return True


def _is_abandoned(lock_file: Path) -> bool:
    try:
        with lock_file.open("r+") as lock:
            return _locked_at_once(lock)
    except FileNotFoundError:
        return False


def _locked_at_once(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _copied(source: Path, head: Head, target: Path) -> Bundle:
    manifest = head.manifest
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
    write_file(target / MANIFEST_FILE, head.raw)
    if head.envelope:
        write_file(target / SIGNATURE_FILE, head.envelope)
    for folder in folders:
        sync_folder(folder)
    return Bundle(folder=target, manifest=manifest, digest=manifest.digest(), signers=head.signers)
