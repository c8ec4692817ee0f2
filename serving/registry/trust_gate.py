"""The rules of a registry as they are now, applied to what goes in and what is handed out."""

import threading
from pathlib import Path

import structlog

from runtimes.errors import BasculeError
from serving.errors import UntrustedError
from serving.registry.bundle import Head
from serving.registry.formats import format_named
from serving.registry.manifest import MANIFEST_FILE, SIGNATURE_FILE
from serving.registry.trust import Candidate, TrustPolicy, Verdict, judge
from serving.registry.trust_file import TRUST_FILE, read_policy

log = structlog.get_logger(__name__)

Stamp = tuple[int, int, int] | None
"""Size, time and inode of a file; None: there is none."""


class TrustGate:
    """Reads `trust.yaml` again whenever it has changed. Thread-safe."""

    def __init__(self, root: Path) -> None:
        """Remember the registry's folder; nothing is read yet."""
        self._file = root / TRUST_FILE
        self._stamp: Stamp | str = "unread"
        self._policy: TrustPolicy | BasculeError = TrustPolicy()
        self._count = 0
        self._lock = threading.Lock()

    def changes(self) -> int:
        """Return a number that rises with every change of the rules."""
        with self._lock:
            stamp = file_stamp(self._file)
            if stamp != self._stamp:
                self._read()
                self._stamp = stamp
                self._count += 1
            return self._count

    def policy(self) -> TrustPolicy:
        """Return the rules.

        A file that cannot be read leaves those in force that were read before.

        Raises:
            InvalidArgumentError: The file cannot be read, and there were none before.
        """
        self.changes()
        if isinstance(self._policy, BasculeError):
            raise self._policy
        return self._policy

    def require(self, candidate: Candidate) -> Verdict:
        """Return what the rules say of a version that they accept.

        Raises:
            UntrustedError: They refuse it; the message says why and what to do.
            InvalidArgumentError: The rules cannot be read.
        """
        verdict = judge(self.policy(), candidate)
        if verdict.refusal is not None:
            raise UntrustedError(str(verdict.refusal))
        return verdict

    def _read(self) -> None:
        try:
            self._policy = read_policy(self._file)
        except BasculeError as error:
            if self._count and isinstance(self._policy, TrustPolicy):
                log.warning("trust_file_ignored", problem=error.message)
            else:
                self._policy = error


def candidate_of(head: Head) -> Candidate:
    """Return what the rules look at."""
    manifest = head.manifest
    return Candidate(
        model=manifest.name,
        version=manifest.version,
        runs_code=format_named(manifest.format).runs_code,
        signers=head.signers,
    )


def head_stamp(folder: Path) -> tuple[Stamp, Stamp]:
    """Return what changes when a bundle's manifest or signature is changed."""
    return file_stamp(folder / MANIFEST_FILE), file_stamp(folder / SIGNATURE_FILE)


def file_stamp(file: Path) -> Stamp:
    """Return what changes when a file is changed."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino
