"""A registry of its own for each test, and one PostgreSQL server for all that want one."""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sql

from serving.registry.store import Registry
from tests.fakes import postgres


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that nothing was written to."""
    return tmp_path / "home"


@pytest.fixture
def registry(home: Path) -> Iterator[Registry]:
    """An open registry, empty."""
    with Registry(home) as opened:
        yield opened


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A running server; its URL."""
    if postgres.programs() is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="bascule-pg-"))
    folder.chmod(0o755)  # the server's user must pass
    try:
        with postgres.running(folder / "server") as url:
            yield url
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """A database of its own."""
    name = f"t{uuid.uuid4().hex}"
    address = sql.make_url(postgres_server).set(drivername="postgresql+psycopg")
    engine = sql.create_engine(address, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sql.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return address.set(database=name, drivername="postgresql").render_as_string(hide_password=False)
