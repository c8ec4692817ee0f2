"""Taking a version out of what is wanted, where it must not be the one that answers."""

from runtimes.errors import InvalidArgumentError
from serving.errors import NotFoundError
from serving.ids import VersionKey
from serving.registry import audit, catalog
from serving.registry.aliases import Author
from serving.registry.rollouts import rows as rollout_rows
from serving.registry.store import Registry


def archive(registry: Registry, key: VersionKey, author: Author) -> None:
    """Want a version no more; one that is promoted at the same moment stays.

    Raises:
        InvalidArgumentError: It is live.
        NotFoundError: It is archived already, or was never pushed.
        AlreadyExistsError: A rollout needs it.
    """
    with registry.database.changing() as connection:
        if catalog.read_pins(connection).get(key.model) == key.version:
            raise InvalidArgumentError(
                f"{key} is live: promote another version first, or take it out of service with "
                f"bascule unload {key}"
            )
        rollout_rows.require_free(connection, key.model, key.version)
        if not catalog.archive(connection, key.model, key.version, registry.clock.utc_now()):
            raise NotFoundError(f"nothing of '{key}' is wanted in the registry")
        event = registry.event(author.who, "unwant", key.model, key.version, reason=author.reason)
        audit.append(connection, event)
