"""What the catalog knows of a registry's rules: that there are some, which, and who changed them.

`trust.yaml` is for people, and a file can be lost. The catalog keeps a copy of the rules that were
in force last, so a file that is gone means "lost" and never "everything is allowed". Whoever
changes the rules by a command is named in the audit log; an edit of the file is noted there by the
process that reads it first.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sql

from runtimes.errors import InvalidArgumentError
from serving.clock import Clock
from serving.errors import NotFoundError, UntrustedError
from serving.registry import audit
from serving.registry.audit import Event
from serving.registry.database import Database
from serving.registry.schema import TRUST_RULES
from serving.registry.trust.trust import TrustPolicy
from serving.registry.trust.trust_file import (
    KeptFile,
    find_policy,
    parse_policy,
    policy_text,
    write_policy,
)

THE_ROW: Final = 1
BY_HAND: Final = "(edited file)"
"""Who changed rules that no command changed."""
SHOWN: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChange:
    """One change of the rules, as the audit log tells it."""

    who: str
    action: str
    """`trust_key`, `untrust_key`, `set_policy`, `edit_rules`, `restore_rules`, `remove_rules`."""
    detail: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRules:
    """The rules that were in force last."""

    digest: str
    text: str
    """As the file held them, comments apart."""
    at_utc: datetime


class RuleBook:
    """The rules of one registry in its catalog. Thread-safe."""

    def __init__(self, database: Database, clock: Clock) -> None:
        """Remember where the catalog is; nothing is read yet."""
        self._database = database
        self._clock = clock

    def recorded(self) -> RecordedRules | None:
        """Return the rules that were in force last; None: the registry has none."""
        with self._database.reading() as connection:
            return _read(connection)

    def found(self, policy: TrustPolicy) -> None:
        """Take note of the rules that the file holds now, if they are not the recorded ones."""
        recorded = self.recorded()
        if recorded is not None and recorded.digest == digest_of(policy):
            return
        with self._database.changing() as connection:
            recorded = _read(connection)
            if recorded is None or recorded.digest != digest_of(policy):
                self._record(connection, policy, RuleChange(who=BY_HAND, action="edit_rules"))

    def change(
        self, file: Path, change: RuleChange, apply: Callable[[Path], TrustPolicy]
    ) -> TrustPolicy:
        """Change the file and take note of it, or neither.

        Args:
            file: The trust file.
            change: What the audit log shall tell.
            apply: Changes the file, and returns the rules that are in it then.

        Raises:
            UntrustedError: The registry has rules, and their file is gone.
        """
        with self._changing(file) as connection:
            if find_policy(file) is None and (recorded := _read(connection)) is not None:
                raise lost(file, recorded)
            policy = apply(file)
            self._record(connection, policy, change)
        return policy

    def restore(self, file: Path, change: RuleChange) -> TrustPolicy:
        """Write the recorded rules where their file is gone.

        Raises:
            NotFoundError: The registry has no rules.
            InvalidArgumentError: The file is there.
        """
        with self._changing(file) as connection:
            recorded = _read(connection)
            if recorded is None:
                raise NotFoundError("the registry has no rules that could be restored")
            if find_policy(file) is not None:
                raise InvalidArgumentError(f"{file} is there: it holds the rules in force")
            policy = parse_policy(recorded.text.encode(), "the recorded rules")
            write_policy(file, policy)
            self._record(connection, policy, change)
        return policy

    def remove(self, file: Path, change: RuleChange) -> None:
        """Remove the rules for good: from then on every version is taken.

        Raises:
            NotFoundError: There are none.
        """
        with self._changing(file) as connection:
            recorded = _read(connection)
            if recorded is None and find_policy(file) is None:
                raise NotFoundError("the registry has no rules that could be removed")
            file.unlink(missing_ok=True)
            connection.execute(sql.delete(TRUST_RULES))
            before = "" if recorded is None else recorded.digest
            self._append(connection, change, f"digest none, before: {before or 'none'}")

    @contextmanager
    def _changing(self, file: Path) -> Iterator[sql.Connection]:
        """Change the catalog and the file, or neither: a full disk may refuse the commit alone."""
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".rules-") as folder:
            kept = KeptFile(file, Path(folder))
            try:
                with self._database.changing() as connection, kept.changing():
                    yield connection
            except BaseException:
                kept.bring_back()
                raise

    def _record(self, connection: sql.Connection, policy: TrustPolicy, change: RuleChange) -> None:
        recorded = _read(connection)
        row = {
            "id": THE_ROW,
            "digest": digest_of(policy),
            "rules": policy_text(policy),
            "at_utc": self._clock.utc_now().isoformat(),
        }
        connection.execute(sql.delete(TRUST_RULES))
        connection.execute(sql.insert(TRUST_RULES).values(row))
        before = "none" if recorded is None else recorded.digest
        self._append(connection, change, f"digest {row['digest']}, before: {before}")

    def _append(self, connection: sql.Connection, change: RuleChange, digests: str) -> None:
        event = Event(
            at_utc=self._clock.utc_now(),
            who=change.who,
            action=change.action,
            model=audit.WHOLE_REGISTRY,
            version=None,
            detail="; ".join(part for part in (change.detail, digests) if part),
            reason=change.reason,
        )
        audit.append(connection, event)


def digest_of(policy: TrustPolicy) -> str:
    """Return what stands for rules in the audit log: sha256 of their text without comments."""
    return hashlib.sha256(policy_text(policy).encode()).hexdigest()


def lost(file: Path, recorded: RecordedRules) -> UntrustedError:
    """Say that the rules' file is gone, and what to do."""
    return UntrustedError(
        f"the registry has rules (digest {recorded.digest[:SHOWN]}, since "
        f"{recorded.at_utc:%Y-%m-%d %H:%M} UTC), and {file} is gone or empty: bring them back with "
        "bascule keys restore-rules, or give them up with bascule keys remove-rules --reason TEXT"
    )


def _read(connection: sql.Connection) -> RecordedRules | None:
    row = connection.execute(sql.select(TRUST_RULES)).first()
    if row is None:
        return None
    return RecordedRules(
        digest=row.digest, text=row.rules, at_utc=datetime.fromisoformat(row.at_utc)
    )
