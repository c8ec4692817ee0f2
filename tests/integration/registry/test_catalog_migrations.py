"""The catalog's schema: what migrations make is what the code expects, and nothing is lost."""

from pathlib import Path

import pytest
import sqlalchemy as sql
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from runtimes.errors import InvalidArgumentError
from serving.registry import catalog
from serving.registry.schema import METADATA, MIGRATIONS, SCHEMA_REVISION
from serving.registry.store import Registry
from tests.fakes.bundles import make_bundle


def catalog_url(home: Path) -> str:
    """Where a home's catalog is."""
    return f"sqlite:///{home / 'registry' / 'catalog.sqlite'}"


def revision_of(registry: Registry) -> int:
    """How many changes the catalog has seen."""
    with registry.database.reading() as connection:
        return catalog.read_revision(connection)


def test_migrations_make_the_schema_of_the_code(home: Path, registry: Registry) -> None:
    """After all migrations the database has exactly the tables that the code describes."""
    engine = sql.create_engine(catalog_url(home))
    with engine.connect() as connection:
        assert revision_of(registry) == 0
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def test_the_code_knows_the_newest_migration() -> None:
    """The revision in the code is the last migration's."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))

    assert ScriptDirectory.from_config(config).get_current_head() == SCHEMA_REVISION


def test_opening_again_keeps_everything(home: Path, tmp_path: Path) -> None:
    """Opening a catalog that is up to date changes nothing."""
    with Registry(home) as first:
        first.push(make_bundle(tmp_path / "b").folder, "ann")
        wanted = first.picture().wanted

    with Registry(home) as second:
        assert second.picture().wanted == wanted
        assert revision_of(second) == 1


def test_a_newer_catalog_is_refused(home: Path, registry: Registry) -> None:
    """A catalog that a newer Bascule migrated is left alone."""
    registry.close()
    engine = sql.create_engine(catalog_url(home))
    with engine.begin() as connection:
        connection.execute(sql.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()

    with pytest.raises(InvalidArgumentError, match="newer Bascule"):
        Registry(home)


def test_a_file_that_is_no_database_is_refused(home: Path) -> None:
    """Something else in the catalog's place is named, not overwritten."""
    place = home / "registry" / "catalog.sqlite"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"this is no database, and long enough to be read as one" * 100)

    with pytest.raises(InvalidArgumentError, match="is damaged"):
        Registry(home)
