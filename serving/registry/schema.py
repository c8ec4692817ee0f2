"""The catalog's tables, and how to open them: SQLite by default, PostgreSQL by URL.

::

    revision   one row: a number that rises with every change, and the audit log's newest hash
    models     a name that was pushed once
    versions   (model, number): immutable but for `wanted`, `archived_utc` and `collected_utc` (its
               files are gone); never deleted, so no number is reused
    aliases    (model, alias) → number: `live` is a stored promotion, also of a repository model
    trust_rules  one row while the registry has rules (`trust.yaml`): what they are, and since when
    waivers    findings of preflight that are allowed for a while; ended, never deleted
    rollouts   planned moves of traffic, as they stand; never deleted
    rollout_transitions  every change of theirs: only ever added to
    approval_rules  model → how many people must approve a version before it gets traffic
    approvals  who approved which digest of which version, and why: only ever added to
    events     who did what, when and why: only ever added to, which triggers enforce, and chained
               (`serving.registry.audit`)
    outbox     what receivers outside are told (`serving.registry.announcing.outbox`): added to
               with the change that it tells of, removed when it is old and nobody waits for it
    event_receivers, event_deliveries  which receiver was given which of those (`serving.events`)

A change begins by raising the revision's number. That takes the row's lock (SQLite: the file's), on
whatever machine, so changes happen one after the other, and what a change then reads is what it
will alter.
"""

import fcntl
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sql
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy.exc import ArgumentError, DatabaseError, DataError, OperationalError

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.errors import NotReadyError
from serving.settings import without_password

MIGRATIONS: Final = Path(__file__).parent / "migrations"
SCHEMA_REVISION: Final = "0007"
"""Alembic's name of the schema that this code works with."""
LOCK_WAIT_S: Final = 30.0
CONNECT_LIMIT_S: Final = 10
MIGRATION_LOCK: Final = 0x62617363756C65
"""The number of the lock that PostgreSQL keeps for us."""
DRIVERS: Final = frozenset({"sqlite", "sqlite+pysqlite", "postgresql+psycopg"})
CONNECT_ARGUMENTS: Final[Mapping[str, dict[str, Any]]] = {
    "sqlite": {"timeout": LOCK_WAIT_S},
    "postgresql": {
        "connect_timeout": CONNECT_LIMIT_S,
        "options": f"-c lock_timeout={LOCK_WAIT_S:.0f}s",
    },
}

PRIMARY_CODE: Final = 0xFF
"""What of SQLite's error codes says which kind of failure it is."""
REMEDIES: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_FULL: ": free space on its disk",
    sqlite3.SQLITE_IOERR: ": its disk may be full, or failing (df, dmesg)",
    sqlite3.SQLITE_READONLY: ": whoever runs this must be able to write it, and its folder",
    sqlite3.SQLITE_CANTOPEN: ": whoever runs this must be able to write it, and its folder",
    sqlite3.SQLITE_BUSY: ": another process holds it; run this again",
}

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
TRUST_RULES: Final = sql.Table(
    "trust_rules",
    METADATA,
    sql.Column("id", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("digest", sql.String(64), nullable=False),
    sql.Column("rules", sql.Text, nullable=False),
    sql.Column("at_utc", sql.String(40), nullable=False),
)
WAIVERS: Final = sql.Table(
    "waivers",
    METADATA,
    sql.Column("id", SERIAL, primary_key=True, autoincrement=True),
    sql.Column("code", sql.String(16), nullable=False),
    sql.Column("model", sql.String(255), nullable=False, index=True),
    sql.Column("number", sql.BigInteger, nullable=True),
    sql.Column("reason", sql.Text, nullable=False),
    sql.Column("granted_by", sql.String(200), nullable=False),
    sql.Column("granted_utc", sql.String(40), nullable=False),
    sql.Column("until_utc", sql.String(40), nullable=False),
)
ROLLOUTS: Final = sql.Table(
    "rollouts",
    METADATA,
    sql.Column("id", SERIAL, primary_key=True, autoincrement=True),
    sql.Column("model", sql.String(255), nullable=False, index=True),
    sql.Column("from_number", sql.BigInteger, nullable=True),
    sql.Column("to_number", sql.BigInteger, nullable=False),
    sql.Column("plan", sql.Text, nullable=False),
    sql.Column("state", sql.String(16), nullable=False),
    sql.Column("step", sql.Integer, nullable=False),
    sql.Column("since_utc", sql.String(40), nullable=False),
    sql.Column("is_paused", sql.Boolean, nullable=False),
    sql.Column("note", sql.Text, nullable=False),
    sql.Column("who", sql.String(200), nullable=False),
    sql.Column("reason", sql.Text, nullable=False),
    sql.Column("created_utc", sql.String(40), nullable=False),
    sql.Column("ended_utc", sql.String(40), nullable=True, index=True),
    sql.Column("change_count", sql.Integer, nullable=False),
)
TRANSITIONS: Final = sql.Table(
    "rollout_transitions",
    METADATA,
    sql.Column("rollout", sql.ForeignKey("rollouts.id"), primary_key=True),
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("at_utc", sql.String(40), nullable=False),
    sql.Column("state", sql.String(16), nullable=False),
    sql.Column("step", sql.Integer, nullable=False),
    sql.Column("who", sql.String(200), nullable=False),
    sql.Column("reason", sql.Text, nullable=False),
    sql.Column("evidence", sql.Text, nullable=False),
)
APPROVAL_RULES: Final = sql.Table(
    "approval_rules",
    METADATA,
    sql.Column("model", sql.String(255), primary_key=True),
    sql.Column("approval_count", sql.Integer, nullable=False),
)
APPROVALS: Final = sql.Table(
    "approvals",
    METADATA,
    sql.Column("id", SERIAL, primary_key=True, autoincrement=True),
    sql.Column("model", sql.String(255), nullable=False, index=True),
    sql.Column("number", sql.BigInteger, nullable=False),
    sql.Column("digest", sql.String(64), nullable=False),
    sql.Column("who", sql.String(200), nullable=False),
    sql.Column("reason", sql.Text, nullable=False),
    sql.Column("at_utc", sql.String(40), nullable=False),
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

OUTBOX: Final = sql.Table(
    "outbox",
    METADATA,
    sql.Column("id", SERIAL, primary_key=True, autoincrement=True),
    sql.Column("uid", sql.String(64), nullable=False, unique=True),
    sql.Column("type", sql.String(100), nullable=False),
    sql.Column("subject", sql.String(300), nullable=False, index=True),
    sql.Column("at_utc", sql.String(40), nullable=False),
    sql.Column("data", sql.Text, nullable=False),
)
EVENT_RECEIVERS: Final = sql.Table(
    "event_receivers",
    METADATA,
    sql.Column("name", sql.String(100), primary_key=True),
    sql.Column("seen_id", sql.BigInteger, nullable=False),
)
EVENT_DELIVERIES: Final = sql.Table(
    "event_deliveries",
    METADATA,
    sql.Column("event", sql.ForeignKey("outbox.id"), primary_key=True),
    sql.Column("receiver", sql.String(100), primary_key=True),
    sql.Column("subject", sql.String(300), nullable=False),
    sql.Column("state", sql.String(16), nullable=False, index=True),
    sql.Column("attempt_count", sql.Integer, nullable=False),
    sql.Column("since_utc", sql.String(40), nullable=False),
    sql.Column("due_utc", sql.String(40), nullable=False),
    sql.Column("ended_utc", sql.String(40), nullable=True),
    sql.Column("told", sql.Text, nullable=False),
)


def open_catalog(url: str, lock_file: Path) -> sql.Engine:
    """Open a catalog; create or migrate it first where it needs that.

    Args:
        url: SQLAlchemy's URL of the database.
        lock_file: SQLite: held while opening, so that processes that open at once wait.

    Raises:
        NotReadyError: The database cannot be reached, or stayed locked.
        InvalidArgumentError: It is no catalog, or a newer Bascule wrote it; or the URL is none.
        UnsupportedError: The database is neither, or its driver is not installed.
    """
    engine = _engine(url)
    if engine.dialect.name == "sqlite":
        sql.event.listen(engine, "connect", _prepare_sqlite)
        sql.event.listen(engine, "begin", _begin_sqlite)
    try:
        with told_apart(url), _opened_alone(engine, lock_file):
            with engine.connect() as connection:
                found = _schema_of(connection)
            if found != SCHEMA_REVISION:
                _migrate(engine, url)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def told_apart(url: str) -> Iterator[None]:
    """Turn the database's failures into errors of our tree.

    Raises:
        NotReadyError: The database cannot be reached, or stayed locked.
        InvalidArgumentError: The database is no catalog, or cannot keep what it is given.
    """
    place = without_password(url)
    try:
        yield
    except OperationalError as error:
        raise NotReadyError(f"catalog {place}: {error.orig}{_remedy(error)}") from error
    except (DataError, UnicodeEncodeError) as error:
        told = error.orig if isinstance(error, DataError) else error.reason
        raise InvalidArgumentError(
            f"a text or a number cannot be kept in the catalog: {told}: write texts in UTF-8, "
            "without NUL"
        ) from error
    except DatabaseError as error:
        raise InvalidArgumentError(f"catalog {place} is damaged: {error.orig}") from error


def _remedy(error: OperationalError) -> str:
    """Say what to do about the failures of SQLite that it tells in a word or two."""
    code = getattr(error.orig, "sqlite_errorcode", 0) & PRIMARY_CODE
    return REMEDIES.get(code, "")


def _engine(url: str) -> sql.Engine:
    address = _address(url)
    try:
        return sql.create_engine(
            address,
            connect_args=CONNECT_ARGUMENTS[address.get_backend_name()],
            pool_pre_ping=True,  # a server that was restarted is found again
        )
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f"the registry's database needs the package {error.name}: pip install bascule[postgres]"
        ) from error


def _address(url: str) -> sql.URL:
    """Read a URL without ever repeating it: it may hold a password."""
    try:
        address = sql.make_url(url)
    except (ArgumentError, ValueError):
        raise InvalidArgumentError(
            "BASCULE_REGISTRY_URL is no URL of a database: write it as "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        ) from None
    if address.drivername in {"postgresql", "postgres"}:
        address = address.set(drivername="postgresql+psycopg")
    if address.drivername not in DRIVERS:
        raise UnsupportedError(
            f"BASCULE_REGISTRY_URL names '{address.drivername}': the registry is kept in "
            "PostgreSQL (postgresql://…) or SQLite (sqlite:///FILE)"
        )
    return address


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # Python's driver would leave CREATE TABLE outside of transactions; `_begin_sqlite` begins them.
    connection.isolation_level = None
    # WAL: readers never wait for a writer. FULL: a promotion that was reported survives power loss.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: sql.Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _schema_of(connection: sql.Connection) -> str | None:
    if not sql.inspect(connection).has_table("alembic_version"):
        return None
    text = sql.text("SELECT version_num FROM alembic_version")
    found: str | None = connection.execute(text).scalar()
    return found


@contextmanager
def _opened_alone(engine: sql.Engine, lock_file: Path) -> Iterator[None]:
    """SQLite: one process opens a file at a time.

    The first connection makes it a write-ahead log, and SQLite does not wait for others with that:
    of processes that opened a new file at once one was told that it is locked.
    """
    if engine.dialect.name != "sqlite":
        yield
        return
    with lock_file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _migrate(engine: sql.Engine, url: str) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # The lock is the server's, so that processes of other machines wait, too.
            connection.execute(sql.select(sql.func.pg_advisory_xact_lock(MIGRATION_LOCK)))
        _migrate_alone(connection, url)


def _migrate_alone(connection: sql.Connection, url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    found = _schema_of(connection)
    try:
        if found is not None:
            ScriptDirectory.from_config(config).get_revision(found)
    except CommandError as error:
        raise InvalidArgumentError(
            f"catalog {without_password(url)} has schema {found}, "
            "which this Bascule does not know: a newer Bascule wrote it, so use that one"
        ) from error
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
