"""Whom a command calls: what a flag names, else a variable, else this home's own instance."""

from dataclasses import dataclass
from typing import Annotated

import msgspec
import typer

from runtimes.errors import InvalidArgumentError
from serving.cli.admin_client import AdminClient, SilentInstanceError
from serving.errors import NotReadyError
from serving.host_port import HostPort, host_port, of_url
from serving.settings import inherited_environment, load_settings

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="HOST:PORT",
        help="Another server's HTTP listener; default: that of this home's instance.",
    ),
]
GrpcUrl = Annotated[
    str | None,
    typer.Option("--grpc-url", metavar="HOST:PORT", help="Likewise its gRPC listener."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listeners:
    """The two ways in."""

    http: HostPort
    grpc: HostPort


def listeners(
    url: str | None = None, grpc_url: str | None = None, *, is_grpc_asked: bool = False
) -> Listeners:
    """Return where HTTP and gRPC are served.

    A running instance of this home says where it listens, for its flags may have moved it: at the
    default port there may be nobody, or somebody else.

    Args:
        url: The HTTP listener that a flag names.
        grpc_url: Likewise of gRPC.
        is_grpc_asked: Whether calls go there, too.

    Raises:
        InvalidArgumentError: One of them is no address, or they are of different servers.
    """
    if url and is_grpc_asked and not grpc_url:
        raise InvalidArgumentError(
            f"--url {url} is another server: say with --grpc-url HOST:PORT where it takes gRPC"
        )
    if grpc_url and not url and "BASCULE_HTTP" not in inherited_environment():
        raise InvalidArgumentError(
            f"--grpc-url {grpc_url} is another server: say with --url HOST:PORT where it takes "
            "HTTP, which tells what its models take"
        )
    settings = load_settings()
    given = {"http": url, "grpc": grpc_url}
    told = {name: of_url(text) for name, text in given.items() if text}
    unsaid = [
        name
        for name in given
        if name not in told and f"BASCULE_{name.upper()}" not in inherited_environment()
    ]
    if unsaid:
        running = _running(AdminClient(settings.admin_socket))
        told.update({name: running[name] for name in unsaid if name in running})
    return Listeners(http=told.get("http", settings.http), grpc=told.get("grpc", settings.grpc))


def _running(client: AdminClient) -> dict[str, HostPort]:
    try:
        found = msgspec.json.decode(client.status_bytes(), type=_Told)
    except (NotReadyError, SilentInstanceError, msgspec.MsgspecError):  # nobody who tells it
        return {}
    return {"http": host_port(found.http), "grpc": host_port(found.grpc)}


class _Told(msgspec.Struct, frozen=True):
    """What is read of a status: an instance of another version says that much, too."""

    http: str
    grpc: str
