"""An address to listen on, as people write it."""

from dataclasses import dataclass

from runtimes.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class HostPort:
    """An address to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        """Print as it is written on the command line."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def host_port(text: str) -> HostPort:
    """Parse `HOST:PORT` or `[IPV6]:PORT`.

    Raises:
        InvalidArgumentError: It is not of that form.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise InvalidArgumentError(f"'{text}' is no address: write HOST:PORT, as in 127.0.0.1:8000")
    return HostPort(host, int(port))
