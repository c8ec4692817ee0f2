"""Alarms about versions as events for receivers outside."""

from collections.abc import Mapping

from serving.ids import VersionKey
from serving.registry.announcing import outbox
from serving.registry.rollouts.events import subject_of
from serving.registry.store import Registry


class AlarmBook:
    """Blocking; nothing of it changes what is served."""

    def __init__(self, registry: Registry) -> None:
        """Use this registry's outbox."""
        self._registry = registry

    def announce(self, key: VersionKey, kind: str, data: Mapping[str, object]) -> None:
        """Let receivers know of an alarm of a version.

        Args:
            key: Which version.
            kind: Of the event (`serving.registry.announcing.outbox`).
            data: What is told.

        Raises:
            BasculeError: The catalog cannot be written now.
        """
        about = {"model": key.model, "version": key.version, **data}
        told = outbox.Announcement(kind=kind, subject=subject_of(key), data=about)
        with self._registry.database.noting() as connection:
            outbox.announce(connection, told, self._registry.clock.utc_now())
