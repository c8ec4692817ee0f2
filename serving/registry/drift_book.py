"""Alarms of drift as events for receivers outside, and what people said to them as audit events."""

from collections.abc import Mapping
from typing import Final

from serving.ids import VersionKey
from serving.registry import audit
from serving.registry.aliases import Author
from serving.registry.outbox import Announcement, announce
from serving.registry.rollout_events import subject_of
from serving.registry.store import Registry

ALARM: Final = "drift.alarm"
"""The kind of the event (`serving.registry.outbox`)."""


class DriftBook:
    """Blocking; nothing of it changes what is served."""

    def __init__(self, registry: Registry) -> None:
        """Use this registry's outbox and audit log."""
        self._registry = registry

    def tell(self, key: VersionKey, data: Mapping[str, object]) -> None:
        """Let receivers know of an alarm of a version.

        Raises:
            BasculeError: The catalog cannot be written now.
        """
        told = Announcement(
            kind=ALARM,
            subject=subject_of(key),
            data={"model": key.model, "version": key.version, **data},
        )
        with self._registry.database.noting() as connection:
            announce(connection, told, self._registry.clock.utc_now())

    def acknowledged(self, key: VersionKey, alarms: str, author: Author) -> None:
        """Record that somebody has seen alarms of a version; `alarms` names them.

        Raises:
            BasculeError: The catalog cannot be written now.
        """
        event = self._registry.event(
            author.who, "acknowledge_drift", key.model, key.version, alarms, author.reason
        )
        with self._registry.database.noting() as connection:
            audit.append(connection, event)
