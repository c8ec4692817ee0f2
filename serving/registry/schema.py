"""The catalog's tables, and how to open them: SQL that any database takes, SQLite by default.

::

    revision   one row: a number that rises with every change, and the audit log's newest hash
    models     a name that was pushed once
    versions   (model, number): immutable but for `wanted`, `archived_utc` and `collected_utc` (its
               files are gone); never deleted, so no number is reused
    aliases    (model, alias) → number: `live` is a stored promotion, also of a repository model
    events     who did what, when and why: only ever added to, which triggers enforce, and chained
               (`serving.registry.audit`)

A change begins by raising the revision's number. That takes the row's lock (SQLite: the file's), so
changes happen one after the other, and what a change then reads is what it will alter.
"""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sql
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy.exc import DatabaseError, OperationalError

from runtimes.errors import InvalidArgumentError
from serving.errors import NotReadyError

MIGRATIONS: Final = Path(__file__).parent / "migrations"
SCHEMA_REVISION: Final = "0002"
"""Alembic's name of the schema that this code works with."""
LOCK_WAIT_S: Final = 30.0

METADATA: Final = sql.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)
SERIAL: Final = sql.BigInteger().with_variant(sql.Integer(), "sqlite")

REVISION: Final = sql.Table(
    "revision",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("number", sql.BigInteger, nullable=False),
    sql.Column("audit_head", sql.String(64), nullable=False, server_default=""),
)
MODELS: Final = sql.Table(
    "models",
    METADATA,
    sql.Column("name", sql.String(255), primary_key=True),
    sql.Column("created_utc", sql.String(40), nullable=False),
)
VERSIONS: Final = sql.Table(
    "versions",
    METADATA,
    sql.Column("model", sql.ForeignKey("models.name"), primary_key=True),
    sql.Column("number", sql.BigInteger, primary_key=True, autoincrement=False),
    sql.Column("digest", sql.String(64), nullable=False),
    sql.Column("content_digest", sql.String(64), nullable=False),
    sql.Column("format", sql.String(32), nullable=False),
    sql.Column("model_file", sql.String(255), nullable=False),
    sql.Column("size_bytes", sql.BigInteger, nullable=False),
    sql.Column("config", sql.Text, nullable=False),
    sql.Column("wanted", sql.Boolean, nullable=False),
    sql.Column("created_utc", sql.String(40), nullable=False),
    sql.Column("manifest", sql.Text, nullable=False, server_default=""),
    sql.Column("pushed_by", sql.String(200), nullable=False, server_default=""),
    sql.Column("archived_utc", sql.String(40), nullable=True),
    sql.Column("collected_utc", sql.String(40), nullable=True),
)
ALIASES: Final = sql.Table(
    "aliases",
    METADATA,
    sql.Column("model", sql.String(255), primary_key=True),
    sql.Column("alias", sql.String(64), primary_key=True),
    sql.Column("number", sql.BigInteger, nullable=False),
)
EVENTS: Final = sql.Table(
    "events",
    METADATA,
    sql.Column("id", SERIAL, primary_key=True, autoincrement=True),
    sql.Column("at_utc", sql.String(40), nullable=False),
    sql.Column("who", sql.String(200), nullable=False),
    sql.Column("action", sql.String(32), nullable=False),
    sql.Column("model", sql.String(255), nullable=False, index=True),
    sql.Column("number", sql.BigInteger, nullable=True),
    sql.Column("detail", sql.Text, nullable=False),
    sql.Column("reason", sql.Text, nullable=False, server_default=""),
    sql.Column("prev_hash", sql.String(64), nullable=False, server_default=""),
    sql.Column("hash", sql.String(64), nullable=False, server_default=""),
)


def open_catalog(url: str, lock_file: Path) -> sql.Engine:
    """Open a catalog; create or migrate it first where it needs that.

    Args:
        url: SQLAlchemy's URL of the database.
        lock_file: Held while migrating: processes that open at once wait for each other.

    Raises:
        NotReadyError: The database cannot be reached, or stayed locked.
        InvalidArgumentError: It is no catalog, or a newer Bascule wrote it.
    """
    engine = sql.create_engine(url, connect_args=_connect_arguments(url))
    if engine.dialect.name == "sqlite":
        sql.event.listen(engine, "connect", _prepare_sqlite)
        sql.event.listen(engine, "begin", _begin_sqlite)
    try:
        with told_apart(url):
            if _schema_of(engine) != SCHEMA_REVISION:
                _migrate(engine, url, lock_file)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def told_apart(url: str) -> Iterator[None]:
    """Turn the database's failures into errors of our tree.

    Raises:
        NotReadyError: The database cannot be reached, or stayed locked.
        InvalidArgumentError: The database is no catalog.
    """
    place = sql.make_url(url).render_as_string(hide_password=True)
    try:
        yield
    except OperationalError as error:
        raise NotReadyError(f"catalog {place}: {error.orig}") from error
    except DatabaseError as error:
        raise InvalidArgumentError(f"catalog {place} is damaged: {error.orig}") from error


def _connect_arguments(url: str) -> dict[str, Any]:
    return {"timeout": LOCK_WAIT_S} if url.startswith("sqlite") else {}


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # Python's driver would leave CREATE TABLE outside of transactions; `_begin_sqlite` begins them.
    connection.isolation_level = None
    # WAL: readers never wait for a writer. FULL: a promotion that was reported survives power loss.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: sql.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _schema_of(engine: sql.Engine) -> str | None:
    with engine.connect() as connection:
        if not sql.inspect(connection).has_table("alembic_version"):
            return None
        text = sql.text("SELECT version_num FROM alembic_version")
        found: str | None = connection.execute(text).scalar()
        return found


def _migrate(engine: sql.Engine, url: str, lock_file: Path) -> None:
    with lock_file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _migrate_alone(engine, url)


def _migrate_alone(engine: sql.Engine, url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    found = _schema_of(engine)
    try:
        if found is not None:
            ScriptDirectory.from_config(config).get_revision(found)
    except CommandError as error:
        raise InvalidArgumentError(
            f"catalog {sql.make_url(url).render_as_string()} has schema {found}, which this "
            "Bascule does not know: a newer Bascule wrote it, so use that one"
        ) from error
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
