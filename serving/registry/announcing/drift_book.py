"""Alarms of drift as events for receivers outside, and what people said to them as audit events."""

from collections.abc import Mapping
from typing import Final

from serving.ids import VersionKey
from serving.registry import audit
from serving.registry.aliases import Author
from serving.registry.announcing.alarm_book import AlarmBook

ALARM: Final = "drift.alarm"
"""The kind of the event (`serving.registry.announcing.outbox`)."""


class DriftBook(AlarmBook):
    """Blocking; nothing of it changes what is served."""

    def tell(self, key: VersionKey, data: Mapping[str, object]) -> None:
        """Let receivers know of drift of a version: see `announce`."""
        self.announce(key, ALARM, data)

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
