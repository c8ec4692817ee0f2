"""The rules of a registry as they are now, applied to what goes in and what is handed out."""

import threading
from pathlib import Path

import structlog

from runtimes.errors import BasculeError
from serving.errors import UntrustedError
from serving.registry.bundles.bundle import Head
from serving.registry.bundles.manifest import MANIFEST_FILE, SIGNATURE_FILE
from serving.registry.formats import format_named
from serving.registry.trust.rule_book import RuleBook, lost
from serving.registry.trust.trust import Candidate, TrustPolicy, Verdict, judge
from serving.registry.trust.trust_file import TRUST_FILE, Stamp, file_stamp, find_policy

log = structlog.get_logger(__name__)


class TrustGate:
    """Reads `trust.yaml` again whenever it has changed. Thread-safe.

    A file that is gone leaves the rules in force that were read before. Who finds it gone when it
    looks for the first time refuses everything, if the catalog knows that the registry has rules.
    """

    def __init__(self, root: Path, book: RuleBook) -> None:
        """Remember the registry's folder; nothing is read yet.

        Args:
            root: The registry's folder.
            book: What the catalog knows of its rules.
        """
        self.file = root / TRUST_FILE
        self.book = book
        self._stamp: Stamp | str = "unread"
        self._policy: TrustPolicy | BasculeError = TrustPolicy()
        self._has_rules = False
        self._is_lost = False
        self._count = 0
        self._lock = threading.Lock()

    def changes(self) -> int:
        """Return a number that rises with every change of the rules.

        Raises:
            NotReadyError: The rules' file has changed, and the catalog cannot be asked about it.
        """
        with self._lock:
            stamp, was_lost = file_stamp(self.file), self._is_lost
            is_new = stamp != self._stamp
            if is_new or was_lost:  # lost rules may be given up, which changes no file
                self._read()
                self._stamp = stamp
                self._count += is_new or was_lost != self._is_lost
            return self._count

    def policy(self) -> TrustPolicy:
        """Return the rules.

        A file that cannot be read leaves those in force that were read before.

        Raises:
            InvalidArgumentError: The file cannot be read, and there were none before.
            UntrustedError: It is gone, and there were none before in this process.
            NotReadyError: It has changed, and the catalog cannot be asked about it.
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
            NotReadyError: They have changed, and the catalog cannot be asked about it.
        """
        verdict = judge(self.policy(), candidate)
        if verdict.refusal is not None:
            raise UntrustedError(str(verdict.refusal))
        return verdict

    def _read(self) -> None:
        try:
            found = find_policy(self.file)
        except BasculeError as error:
            if self._has_rules:
                log.warning("trust_file_ignored", problem=error.message)
            else:
                self._policy = error
            return
        if found is None:
            self._read_nothing()
            return
        self.book.found(found)
        self._policy, self._has_rules, self._is_lost = found, True, False

    def _read_nothing(self) -> None:
        """The file is gone or empty: the catalog knows whether there should be one."""
        recorded = self.book.recorded()
        if recorded is None:
            self._policy, self._has_rules, self._is_lost = TrustPolicy(), False, False
            return
        gone = lost(self.file, recorded)
        if not self._has_rules:
            self._policy = gone
        elif not self._is_lost:
            log.warning("trust_file_lost", problem=gone.message)
        self._is_lost = True


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
