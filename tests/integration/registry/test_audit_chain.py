"""The audit log: chained, only added to, and taken over from an older catalog."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sql
from alembic import command
from alembic.config import Config

from serving.registry import audit
from serving.registry.schema import MIGRATIONS
from serving.registry.store import Registry
from tests.fakes.bundles import make_bundle
from tests.integration.registry.test_catalog_migrations import catalog_url


def verified(registry: Registry) -> audit.Verified:
    """Follow the chain."""
    with registry.database.reading() as connection:
        return audit.verify(connection)


def filled(registry: Registry, tmp_path: Path) -> Registry:
    """Make three events: a push, its promotion, another promotion."""
    registry.push(make_bundle(tmp_path / "b").folder, "ann")
    registry.pin_live("m", 1, "bob", reason="it is good")
    return registry


def tamper(home: Path, *statements: str) -> None:
    """Do to the database what its triggers refuse."""
    engine = sql.create_engine(catalog_url(home))
    with engine.begin() as connection:
        for trigger in ("events_never_change", "events_never_go"):
            connection.execute(sql.text(f"DROP TRIGGER {trigger}"))
        for statement in statements:
            connection.execute(sql.text(statement))
    engine.dispose()


def test_every_event_continues_the_chain(registry: Registry, tmp_path: Path) -> None:
    """The chain is whole, and its head is the newest event's hash; the reason is kept."""
    filled(registry, tmp_path)

    newest = registry.events()[0]
    assert verified(registry) == audit.Verified(event_count=3, head=newest.hash)
    assert (newest.who, newest.reason) == ("bob", "it is good")


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE events SET who = 'eve' WHERE id = 2", "event 2"),
        ("UPDATE events SET reason = 'none' WHERE id = 3", "event 3"),
        ("DELETE FROM events WHERE id = 1", "event 2"),
        ("DELETE FROM events WHERE id = 2", "event 3"),
        ("DELETE FROM events WHERE id = 3", "the newest events are gone"),
    ],
)
def test_the_first_broken_event_is_named(
    home: Path, registry: Registry, tmp_path: Path, statement: str, told: str
) -> None:
    """Whatever is done to an event past the triggers, the chain tells where."""
    filled(registry, tmp_path)
    tamper(home, statement)

    assert verified(registry).broken.startswith(told)


@pytest.mark.parametrize(
    "change",
    [
        lambda connection: connection.execute(sql.text("UPDATE events SET who = 'eve'")),
        lambda connection: connection.execute(sql.text("DELETE FROM events")),
    ],
    ids=["update", "delete"],
)
def test_the_database_refuses_to_change_events(
    home: Path,
    registry: Registry,
    tmp_path: Path,
    change: Callable[[sql.Connection], object],
) -> None:
    """Neither an update nor a deletion of events is carried out."""
    filled(registry, tmp_path)
    engine = sql.create_engine(catalog_url(home))

    with (
        pytest.raises(sql.exc.IntegrityError, match="events are only ever added"),
        engine.begin() as connection,
    ):
        change(connection)
    engine.dispose()

    assert verified(registry).event_count == 3


def test_an_older_catalog_is_chained(home: Path) -> None:
    """Events of a catalog of the first schema are chained; pushes and archivals are taken over."""
    (home / "registry").mkdir(parents=True)
    engine = sql.create_engine(catalog_url(home))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in OLD_ROWS:
            connection.execute(sql.text(statement))
    engine.dispose()

    with Registry(home) as registry:
        (version,) = registry.versions()
        assert (version.pushed_by, version.archived_utc) == ("ann", registry.events()[0].at_utc)
        assert verified(registry).event_count == 2
        assert verified(registry).broken == ""


OLD_ROWS = (
    "INSERT INTO models VALUES ('m', '2026-01-01T00:00:00+00:00')",
    (
        "INSERT INTO versions VALUES ('m', 1, 'd', 'c', 'echo', 'model.echo', 7, '', 0,"
        " '2026-01-01T00:00:00+00:00')"
    ),
    "INSERT INTO events VALUES (1, '2026-01-01T00:00:00+00:00', 'ann', 'push', 'm', 1, 'd')",
    "INSERT INTO events VALUES (2, '2026-01-02T00:00:00+00:00', 'bob', 'unwant', 'm', NULL, '')",
)
