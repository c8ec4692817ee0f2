"""Names that stand for a version: `MODEL@NAME` wherever `MODEL:VERSION` can be written."""

from dataclasses import dataclass

from serving.errors import NotFoundError
from serving.ids import VersionKey, alias_name, model_name, version_key
from serving.registry import audit, catalog
from serving.registry.catalog import Alias, RegisteredVersion
from serving.registry.nearest import nearest
from serving.registry.store import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who changes something, and why."""

    who: str
    reason: str = ""


def set_alias(registry: Registry, key: VersionKey, name: str, author: Author) -> int | None:
    """Let a name stand for a version; return what it stood for before.

    Raises:
        InvalidArgumentError: The name cannot be one, or is `live`: that is promoted.
        NotFoundError: The version was never pushed.
    """
    alias_name(name)
    with registry.database.changing() as connection:
        if catalog.read_version(connection, key.model, key.version) is None:
            raise NotFoundError(f"{key} is not in the registry: push it first")
        before = catalog.set_alias(connection, key.model, name, key.version)
        if before != key.version:
            told = f"@{name}" if before is None else f"@{name}, before: {before}"
            event = registry.event(author.who, "alias", key.model, key.version, told, author.reason)
            audit.append(connection, event)
        return before


def remove_alias(registry: Registry, model: str, name: str, author: Author) -> int:
    """Forget a name; return the version that it stood for.

    Raises:
        InvalidArgumentError: The name cannot be one, or is `live`: that is promoted.
        NotFoundError: The model has no such alias.
    """
    alias_name(name)
    with registry.database.changing() as connection:
        before = catalog.set_alias(connection, model, name, None)
        if before is None:
            raise NotFoundError(f"'{model}' has no alias '{name}'")
        event = registry.event(author.who, "unalias", model, before, f"@{name}", author.reason)
        audit.append(connection, event)
        return before


def aliases_of(registry: Registry, model: str | None = None) -> tuple[Alias, ...]:
    """Return the aliases of a model, or of all, `live` included."""
    with registry.database.reading() as connection:
        return catalog.read_aliases(connection, model)


def named_version(registry: Registry, text: str) -> VersionKey:
    """Return the version that `MODEL:VERSION` or `MODEL@ALIAS` names, pushed or not.

    Raises:
        NotFoundError: The model has no such alias.
        InvalidArgumentError: It is of neither form.
    """
    model, at, name = text.rpartition("@")
    if not at or ":" in name:
        return version_key(text)
    known = aliases_of(registry, model_name(model))
    for alias in known:
        if alias.name == name:
            return VersionKey(model, alias.version)
    if model not in registry.models():
        there = nearest(model, registry.models())
        raise NotFoundError(f"no model '{model}' is in the registry: {there}")
    has = ", ".join(f"@{alias.name}" for alias in known) or "none"
    raise NotFoundError(f"'{model}' has no alias '{name}'; it has: {has}")


def stored_version(registry: Registry, key: VersionKey) -> RegisteredVersion:
    """Return a version of the catalog.

    Raises:
        NotFoundError: It was never pushed.
    """
    found = registry.versions(key.model)
    for row in found:
        if row.version == key.version:
            return row
    numbers = ", ".join(str(row.version) for row in found)
    if numbers:
        has = f"'{key.model}' has {numbers}"
    else:
        has = f"nothing of '{key.model}' was pushed; {nearest(key.model, registry.models())}"
    raise NotFoundError(f"{key} is not in the registry: {has}")
