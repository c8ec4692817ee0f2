"""A real PostgreSQL server for tests: its own folder, a free port of loopback, one password."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PASSWORD: Final = "s3cret-of-the-test"  # noqa: S105  of a server that lives for one test run
WHERE: Final = Path("/usr/lib/postgresql")
USER: Final = "postgres"
LIMIT_S: Final = 90


def programs() -> Path | None:
    """Return the folder of the newest server's programs, or None where none is installed."""
    found = sorted(WHERE.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if found:
        return found[-1].parent
    beside = shutil.which("initdb")
    return None if beside is None else Path(beside).resolve().parent


@dataclass(frozen=True)
class Postgres:
    """A server whose data lies in a folder; it can be stopped and started again."""

    folder: Path
    url: str
    """Of an empty database."""
    control: tuple[str, ...]
    options: str

    def start(self) -> None:
        """Start it; returns when it accepts connections."""
        _run(
            self.folder,
            [*self.control, "-l", str(self.folder / "log"), "-o", self.options, "start"],
        )

    def stop(self) -> None:
        """Break every connection and end it, as a crash would."""
        _run(self.folder, [*self.control, "-m", "immediate", "stop"])


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Start a server whose data lies in a folder; give the URL of an empty database; stop it."""
    server = prepared(folder)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def prepared(folder: Path) -> Postgres:
    """Make a server's data in a folder, and start nothing."""
    found = programs()
    if found is None:
        raise FileNotFoundError("initdb")
    data, port = folder / "data", _free_port()
    folder.mkdir(mode=0o755)
    secret = folder / "password"
    secret.write_text(PASSWORD)
    if os.getuid() == 0:
        shutil.chown(folder, USER)
        shutil.chown(secret, USER)
    initialise = ("-D", str(data), "-U", "bascule", "-A", "scram-sha-256", "--no-sync")
    _run(folder, [str(found / "initdb"), *initialise, "--pwfile", str(secret)])
    return Postgres(
        folder=folder,
        url=f"postgresql://bascule:{PASSWORD}@127.0.0.1:{port}/postgres",
        control=(str(found / "pg_ctl"), "-D", str(data), "-w"),
        options=f"-h 127.0.0.1 -p {port} -k '' -c fsync=off",
    )


def _run(folder: Path, command: Sequence[str]) -> None:
    """Run a program as a user that the server accepts: it refuses to be root's."""
    drop = {"user": USER, "group": USER} if os.getuid() == 0 else {}
    with (folder / "programs.log").open("ab") as log:
        subprocess.run(  # type: ignore[call-overload]  # mypy does not see through `drop`
            command, check=True, timeout=LIMIT_S, cwd=folder, stdout=log, stderr=log, **drop
        )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
