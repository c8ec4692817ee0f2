"""The catalog's database: one connection for each reading or change, errors of our tree only."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import sqlalchemy as sql

from serving.registry import catalog
from serving.registry.schema import open_catalog, told_apart

POSTGRESQL: Final = "postgresql"


class Database:
    """An open catalog. Thread-safe."""

    def __init__(self, url: str, lock_file: Path) -> None:
        """Open it; create or migrate it first where it needs that.

        Raises:
            NotReadyError: It cannot be reached, or stayed locked.
            InvalidArgumentError: It is no catalog, or a newer Bascule wrote it.
            UnsupportedError: Its driver is not installed.
        """
        self._url = url
        self._engine = open_catalog(url, lock_file)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[sql.Connection]:
        """A connection that changes nothing."""
        with told_apart(self._url), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[sql.Connection]:
        """A connection that changes nothing, and sees one moment, whatever others change."""
        with told_apart(self._url), self._engine.connect() as connection:
            if connection.dialect.name == POSTGRESQL:  # there each statement has its own moment
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @contextmanager
    def changing(self) -> Iterator[sql.Connection]:
        """A change: alone until the block ends, and undone when it raises."""
        with told_apart(self._url), self._engine.begin() as connection:
            catalog.begin_change(connection)
            yield connection

    @contextmanager
    def holding(self) -> Iterator[sql.Connection]:
        """Keep every change out until the block ends, and make none."""
        with told_apart(self._url), self._engine.begin() as connection:
            catalog.hold_changes(connection)
            yield connection

    @contextmanager
    def noting(self) -> Iterator[sql.Connection]:
        """Write what changes nothing that is served: alone, undone on errors, without a revision.

        Whoever watches the revision does not read everything again for it.
        """
        with self.holding() as connection:
            yield connection


def sqlite_url(file: Path) -> str:
    """Return the URL of a file, whose path may have what means something in a URL."""
    return f"sqlite:///{file}".replace("%", "%25").replace("?", "%3F")
