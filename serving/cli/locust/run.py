"""Start Locust, tell how far it is, and read what it found.

Locust is a process of its own: importing it puts gevent's sockets and threads in the place of
Python's, which no other part of Bascule may see.
"""

import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final

import msgspec

from runtimes.errors import BasculeError
from serving.cli.locust.plan import Client, Plan, Transport, write_plan
from serving.cli.locust.results import Results
from serving.cli.progress import Progress

LOCUSTFILE: Final = Path(__file__).with_name("locustfile.py")
USERS: Final = {
    (Client.RAW, Transport.HTTP): "RawHttpUser",
    (Client.RAW, Transport.GRPC): "RawGrpcUser",
    (Client.TRITONCLIENT, Transport.HTTP): "TritonHttpUser",
    (Client.TRITONCLIENT, Transport.GRPC): "TritonGrpcUser",
}
"""Classes of `users.py`, by name: importing them imports gevent."""
LAST_ANSWERS_S: Final = 10
"""So long users that leave wait for their answer."""
SAID_CHARACTERS: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What Locust left."""

    results: Results
    page: bytes = b""
    """Its report as HTML; empty: none was wanted."""


class LocustError(BasculeError):
    """Locust is not there, or ended without figures."""


def require(client: Client) -> None:
    """Make sure that Locust, and the client that is to ask, are installed.

    Raises:
        LocustError: One is missing.
    """
    wanted = ("locust", "tritonclient") if client is Client.TRITONCLIENT else ("locust",)
    missing = [name for name in wanted if find_spec(name) is None]
    if missing:
        raise LocustError(
            f"this command needs {' and '.join(missing)}: pip install 'bascule[bench]'"
        )


def run_locust(plan: Plan, progress: Progress, *, with_page: bool) -> Run:
    """Run a plan to its end; Ctrl-C ends it early, and what was counted until then is returned.

    Args:
        plan: What is to be done.
        progress: Where it is told how far it is.
        with_page: Whether Locust's report is wanted.

    Raises:
        LocustError: Locust ended without figures.
        KeyboardInterrupt: Ctrl-C came before Locust could count anything.
    """
    with tempfile.TemporaryDirectory(prefix="bascule-locust-") as folder:
        figures, page = Path(folder) / "figures.json", Path(folder) / "page.html"
        with (Path(folder) / "said").open("w+b") as said:
            command = _command(plan, Path(folder), figures, page if with_page else None)
            status = _ran(command, Path(folder), said, progress)
            if not figures.exists():
                said.seek(0)
                text = said.read().decode(errors="replace").strip()[-SAID_CHARACTERS:]
                raise LocustError(f"Locust ended with status {status} and no figures: {text}")
        return Run(
            results=msgspec.json.decode(figures.read_bytes(), type=Results),
            page=page.read_bytes() if with_page else b"",
        )


def _command(plan: Plan, folder: Path, figures: Path, page: Path | None) -> list[str]:
    write_plan(plan, folder / "plan.json")
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE)]
    command += ["--headless", "--only-summary", "--skip-log-setup", "--exit-code-on-error", "0"]
    command += ["--stop-timeout", str(LAST_ANSWERS_S), "--host", f"http://{plan.http}"]
    command += ["--plan", str(folder / "plan.json"), "--figures", str(figures)]
    if page is not None:
        command += ["--html", str(page), "--profile", plan.text()]
    return command + [USERS[plan.client, transport] for transport in plan.transports()]


def _ran(command: list[str], folder: Path, said: IO[bytes], progress: Progress) -> int:
    """Run it, telling each line that it says; return its exit status."""
    process = subprocess.Popen(  # noqa: S603  our own program
        command,
        cwd=folder,  # Locust reads settings of its own from where it is started
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
        start_new_session=True,  # Ctrl-C is for us, who hand it on
    )
    with process:
        try:
            _told_to_its_end(process, progress)
        finally:
            process.kill()  # it does not outlive its folder: a second Ctrl-C, or SIGTERM
    return process.returncode


def _told_to_its_end(process: subprocess.Popen[str], progress: Progress) -> None:
    try:
        _told(process, progress)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        _told(process, progress)
        if process.wait():  # too early: nothing was counted
            raise
    process.wait()


def _told(process: subprocess.Popen[str], progress: Progress) -> None:
    for line in process.stdout or ():
        progress.say(line.strip())
