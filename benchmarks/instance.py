"""Start and end an instance of Bascule as an operator does: the command, a home of its own, ports.

Nothing of it is left behind: at the end, a process that still runs with this home is an error.
"""

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from serving.settings import inherited_environment

BASCULE: Final = Path(sys.executable).with_name("bascule")
READY_LIMIT_S: Final = 180.0
STOP_LIMIT_S: Final = 60.0
LOOK_S: Final = 0.02
LOG_TAIL_LINES: Final = 15
PLACES: Final = "BLOBS EVENTS_FILE OTLP_ENDPOINT PREDICTION_LOG REGISTRY_URL SLO_FILE TRACE_FILE"
OF_OTHERS: Final = frozenset(
    f"BASCULE_{name}" for name in (*PLACES.split(), "LOAD_MODEL", "MODEL_CONTROL_MODE")
)
"""Settings of the caller that no instance of ours takes over."""


class InstanceError(Exception):
    """The instance did not start, did not answer, or left processes behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A running instance, as its operator sees it."""

    home: Path
    http: str
    grpc: str
    metrics: str
    environment: Mapping[str, str]
    ready_s: float
    """Seconds from the command to the first `ready` over HTTP."""

    def bascule(self, *arguments: str) -> str:
        """Run one `bascule` command on this instance; return what it printed.

        Raises:
            InstanceError: It failed.
        """
        return _bascule(self.environment, arguments)

    def status(self) -> Any:
        """`bascule status --json`; it exits 1 while a version is not ready, which is no failure.

        Raises:
            InstanceError: It printed no status.
        """
        done = _run(self.environment, ["status", "--json"])
        if not done.stdout:
            raise InstanceError(f"bascule status: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def processes(self) -> list[psutil.Process]:
        """Every process of this instance."""
        return processes_of(self.home)

    def memory_bytes(self) -> int:
        """Return what all processes take together, shared pages once."""
        return sum(process.memory_full_info().pss for process in self.processes())


@contextmanager
def running_instance(
    repository: Path,
    *,
    mode: str = "standalone",
    has_started: Callable[[str], bool] | None = None,
    **settings: str,
) -> Iterator[Instance]:
    """Serve a repository until the block ends; `mode` is `standalone` or `ray`.

    Settings are names and values of `BASCULE_*` variables, in lower case. `has_started` judges by
    the HTTP address; without it a server has started when it is ready, with all of its models.

    Raises:
        InstanceError: It did not become ready, or did not end as a whole.
    """
    home = Path(tempfile.mkdtemp(prefix="bascule-"))
    http, grpc, metrics = (f"127.0.0.1:{port}" for port in free_ports(3))
    variables = {"home": str(home), "http": http, "grpc": grpc, "metrics": metrics}
    variables |= {"model_repository": str(repository), **settings}
    environment = callers_environment(inherited_environment()) | {
        f"BASCULE_{name.upper()}": value for name, value in variables.items()
    }
    is_up = has_started or is_ready
    start = _standalone if mode == "standalone" else _ray
    started_s = time.monotonic()
    try:
        with start(home, environment) as is_alive:
            until(lambda: is_up(http), READY_LIMIT_S, "ready", is_alive, lambda: _log_tail(home))
            yield Instance(
                home=home,
                http=http,
                grpc=grpc,
                metrics=metrics,
                environment=environment,
                ready_s=time.monotonic() - started_s,
            )
        until(lambda: not processes_of(home), STOP_LIMIT_S, "all processes ended")
    finally:
        for process in processes_of(home):
            process.kill()
        shutil.rmtree(home, ignore_errors=True)


def callers_environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the settings that lead to other places, people or models."""
    return {name: value for name, value in inherited.items() if name not in OF_OTHERS}


def instance_at(home: Path, *, http: str, grpc: str) -> Instance:
    """Describe an instance that somebody else started."""
    return Instance(
        home=home,
        http=http,
        grpc=grpc,
        metrics="",
        environment=inherited_environment() | {"BASCULE_HOME": str(home)},
        ready_s=0.0,
    )


def processes_of(home: Path) -> list[psutil.Process]:
    """Every process with this home in its environment, but us and the commands that we run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("BASCULE_HOME") == str(home):
                found.append(process)
        except psutil.Error:
            continue  # gone meanwhile, or another user's
    return found


def is_ready(http: str) -> bool:
    """Say whether a server is ready: all that it wants to serve, it serves."""
    try:
        with urllib.request.urlopen(f"http://{http}/v2/health/ready", timeout=2) as reply:
            return bool(reply.status == 200)  # noqa: PLR2004  HTTP's OK
    except (urllib.error.URLError, OSError):
        return False


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def until(
    condition: Callable[[], bool],
    limit_s: float,
    what: str,
    is_alive: Callable[[], bool] = lambda: True,
    tell: Callable[[], str] = str,
    *,
    look_s: float = LOOK_S,
) -> None:
    """Wait for a condition; `tell` gives more words for the error.

    Raises:
        InstanceError: It did not come true in time, or who should bring it about has ended.
    """
    end_s = time.monotonic() + limit_s
    while not condition():
        alive = is_alive()
        if not alive or time.monotonic() > end_s:
            why = f"not within {limit_s:.0f} s" if alive else "the process has ended"
            raise InstanceError(f"{what}: {why}\n{tell()}")
        time.sleep(look_s)


def end_process(process: subprocess.Popen[bytes], limit_s: float) -> None:
    """Ask a process to end; kill it if it does not in time."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _standalone(home: Path, environment: Mapping[str, str]) -> Iterator[Callable[[], bool]]:
    with (home / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [BASCULE, "serve"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # as a service has, and an instance on Ray
        )
    try:
        yield lambda: process.poll() is None
    finally:
        end_process(process, STOP_LIMIT_S)


@contextmanager
def _ray(home: Path, environment: Mapping[str, str]) -> Iterator[Callable[[], bool]]:
    (home / "serve.log").write_text(_bascule(environment, ["up", "--no-dashboard"]))
    try:
        yield lambda: True
    finally:
        _bascule(environment, ["down"])


def _bascule(environment: Mapping[str, str], arguments: Sequence[str]) -> str:
    done = _run(environment, arguments)
    if done.returncode:
        raise InstanceError(f"bascule {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _run(
    environment: Mapping[str, str], arguments: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BASCULE, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def _log_tail(home: Path) -> str:
    return "\n".join((home / "serve.log").read_text().splitlines()[-LOG_TAIL_LINES:])
