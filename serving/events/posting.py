"""Sends one event to one receiver: signed, guarded, within limits. It tells, and never raises.

Each request has a connection of its own. The address is checked where it is connected to, after the
name was looked up, so no second answer of a DNS server leads elsewhere. Redirects are not followed,
proxies and cookies of the environment not used.
"""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.clock import Clock
from serving.events.address_guard import refusal
from serving.events.cloud_event import CONTENT_TYPE
from serving.events.own_thread import in_thread_of_its_own
from serving.events.receivers import Receiver
from serving.events.retrying import Answer
from serving.events.signing import Secret, parse_secrets, signed_headers
from serving.own_version import own_version
from serving.settings import inherited_environment

ATTEMPT_LIMIT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 1024
"""What is read of a refusal's text."""
MAX_TOLD_CHARACTERS: Final = 300
MAX_SECRET_BYTES: Final = 1 << 16

AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """What is sent."""

    uid: str
    body: bytes


class HttpPoster:
    """Sends parcels. Stateless."""

    def __init__(self, clock: Clock, *, limit_s: float = ATTEMPT_LIMIT_S) -> None:
        """Remember what timestamps are read off.

        Args:
            clock: For timestamps.
            limit_s: Of one attempt, from looking the name up to the end of the answer.
        """
        self._clock = clock
        self._limit_s = limit_s

    async def post(self, receiver: Receiver, parcel: Parcel) -> Answer:
        """Send a parcel once; what goes wrong is in the answer."""
        guard = _Guard(receiver)
        try:
            async with asyncio.timeout(self._limit_s):
                means = await in_thread_of_its_own(lambda: _means_of(receiver))
                return await self._post(guard, parcel, means)
        except TimeoutError:
            return Answer(told=f"no answer within {self._limit_s:g} s")
        except BasculeError as error:
            return Answer(told=error.message)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(told=_short(_fault(error, guard)))

    async def _post(self, guard: "_Guard", parcel: Parcel, means: "_Means") -> Answer:
        began_s = self._clock.monotonic_s()
        connector = aiohttp.TCPConnector(
            resolver=_Resolver(),
            use_dns_cache=False,
            force_close=True,
            socket_factory=guard.connect,
            ssl=means.tls if means.tls is not None else True,
        )
        timestamp_s = int(self._clock.utc_now().timestamp())
        headers = {
            "content-type": CONTENT_TYPE,
            "accept-encoding": "identity",
            "user-agent": f"bascule/{own_version()}",
            **signed_headers(parcel.uid, timestamp_s, parcel.body, means.secrets),
        }
        async with (
            aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=self._limit_s),
            ) as session,
            session.post(
                guard.receiver.url, data=parcel.body, headers=headers, allow_redirects=False
            ) as response,
        ):
            took_ms = (self._clock.monotonic_s() - began_s) * 1000
            told = f"HTTP {response.status} from {guard.address} after {took_ms:.0f} ms"
            answer = Answer(status=response.status, told=told)
            if answer.is_taken:
                return answer
            if "location" in response.headers:
                told += ", which leads elsewhere: redirects are not followed, name that URL"
            text = await response.content.read(MAX_ANSWER_BYTES)
            return Answer(
                status=response.status,
                told=_short(f"{told}: {text.decode(errors='replace')}" if text else told),
                retry_after_s=_seconds(response.headers.get("retry-after", "")),
            )


@dataclass(slots=True)
class _Guard:
    """Opens sockets to addresses that may be asked, and remembers the last."""

    receiver: Receiver
    address: str = ""
    refused: str = ""
    """Why the last address that may not be asked may not."""

    def connect(self, info: AddressInfo) -> socket.socket:
        """Open a socket for an address; aiohttp calls it with the one that it connects to.

        Raises:
            OSError: The address may not be asked.
        """
        family, kind, protocol, _, address = info
        self.address = str(address[0])
        why = refusal(self.address, self.receiver.allow_networks)
        if why:
            self.refused = why
            raise OSError(why)
        return socket.socket(family, kind, protocol)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Means:
    """What files say that a request needs."""

    secrets: tuple[Secret, ...]
    tls: ssl.SSLContext | None


def _means_of(receiver: Receiver) -> _Means:
    """Read secrets and certificates; blocking. They are read each time: both are exchanged."""
    tls = None
    if receiver.ca_file is not None:
        try:
            tls = ssl.create_default_context(cafile=receiver.ca_file)
        except OSError as error:
            raise InvalidArgumentError(f"ca_file {receiver.ca_file}: {error}") from error
    return _Means(secrets=read_secrets(receiver), tls=tls)


def read_secrets(receiver: Receiver) -> tuple[Secret, ...]:
    """Read what a receiver's requests are signed with; blocking.

    Raises:
        InvalidArgumentError: It is not there, or is none.
    """
    file = receiver.secret_file
    if file is None:
        name = receiver.secret_env
        text = inherited_environment().get(name, "")
        return parse_secrets(text, f"the variable {name} of the controller's process")
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_SECRET_BYTES)
    except OSError as error:
        raise InvalidArgumentError(f"secret_file {file}: {error.strerror}") from error
    return parse_secrets(raw.decode(errors="replace"), f"secret_file {file}")


class _Resolver(AbstractResolver):
    """Looks names up beside all threads that others wait for: a DNS server may take its time."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await in_thread_of_its_own(
            lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Nothing is kept."""


def _fault(error: Exception, guard: _Guard) -> str:
    """Say why there is no answer."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return guard.refused or f"cannot connect to {error.host}:{error.port}: {error.os_error}"
    if isinstance(error, aiohttp.ClientResponseError):
        # What it quotes of the answer is bytes, and its status is none that came.
        said = error.message.partition("\n\n")[0].rstrip(":")
        return f"what {guard.address} answered is no HTTP: {said}"
    return str(error) or type(error).__name__


def _short(text: str) -> str:
    line = " ".join(text.split())
    printable = "".join(one if one.isprintable() else "?" for one in line)
    return printable[:MAX_TOLD_CHARACTERS]


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0  # noqa: PLR2004  digits
