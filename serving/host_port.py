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
    is_name = bool(host) and not any(sign.isspace() or sign == "/" for sign in host)
    is_port = port.isascii() and port.isdecimal() and 0 < int(port) < 2**16
    if not colon or not is_name or not is_port:
        raise InvalidArgumentError(f"'{text}' is no address: write HOST:PORT, as in 127.0.0.1:8000")
    return HostPort(host, int(port))


def of_url(text: str) -> HostPort:
    """Parse an address, or a URL of HTTP that says no more than one.

    Raises:
        InvalidArgumentError: It is neither.
    """
    return host_port(text.removeprefix("http://").removesuffix("/"))
