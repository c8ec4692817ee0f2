"""HAProxy's runtime API: send commands, check that they succeeded, read the state back.

The API has no status codes. A command that succeeds says nothing or one known sentence, so every
batch carries what it expects, and anything else is an error.

::

    BasculeError
    └── EdgeError    internal: HAProxy refused a command, or does not run as it should
"""

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtimes.errors import BasculeError
from serving.edge.haproxy_commands import Batch, HaproxyState, Server
from serving.edge.haproxy_layout import LIVE_MAP, VERSIONS_MAP
from serving.errors import NotReadyError

SLOT: Final = re.compile(r"s\d{4}")
ENTRY_COUNT: Final = re.compile(r"\((\S+)\) pattern .* entry_cnt=(\d+)")
SERVER_TYPE: Final = 4  # of `show stat`


class EdgeError(BasculeError):
    """HAProxy refused a command, or does not run as it should."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """What a running HAProxy says of itself."""

    state: HaproxyState
    leaving: frozenset[Server]
    """Servers that get no new calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What HAProxy says of one server."""

    server: Server
    is_up: bool
    is_leaving: bool


class AdminSocket:
    """Talks to one HAProxy; each question is a connection of its own."""

    def __init__(self, path: Path) -> None:
        """Remember the socket; nothing is connected yet."""
        self._path = path

    async def ask(self, text: str, *, timeout_s: float = 5.0) -> str:
        """Send one line of commands (`;` between them) and return all that is answered.

        Raises:
            NotReadyError: Nobody listens there, or the answer does not come.
        """
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_unix_connection(str(self._path))
                try:
                    writer.write(text.encode() + b"\n")
                    answer = (await reader.read(-1)).decode()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise NotReadyError(f"HAProxy's runtime API does not answer: {error!r}") from error
        if not answer:  # even an empty answer ends with a blank line
            raise NotReadyError("HAProxy's runtime API closed the connection without an answer")
        return answer

    async def run(self, batches: Iterable[Batch]) -> None:
        """Send batches in order and check each.

        Raises:
            EdgeError: A command did not succeed; later batches were not sent.
            NotReadyError: HAProxy does not answer.
        """
        for batch in batches:
            answer = await self.ask(batch.text)
            lines = tuple(line for line in answer.splitlines() if line)
            if lines != batch.replies:
                raise EdgeError(
                    f"HAProxy answered {_cut(lines)} to {batch.text[:200]!r}, expected "
                    f"{_cut(batch.replies)}"
                )

    async def information(self) -> Mapping[str, str]:
        """Return what `show info` says."""
        pairs = (line.partition(": ") for line in (await self.ask("show info")).splitlines())
        return {name: value for name, colon, value in pairs if colon}

    async def read_state(self) -> ReadBack:
        """Read everything that can change at run time."""
        servers: dict[Server, str] = {}
        leaving: set[Server] = set()
        for said in _servers(await self.ask("show servers state")):
            servers[said.server] = ""
            if said.is_leaving:
                leaving.add(said.server)
        state = HaproxyState(
            servers=servers,
            versions=await self._map(VERSIONS_MAP),
            live=await self._map(LIVE_MAP),
        )
        return ReadBack(state=state, leaving=frozenset(leaving))

    async def servers_up(self, slot: str) -> frozenset[Server]:
        """Servers of a slot that take calls."""
        said = _servers(await self.ask(f"show servers state {slot}"))
        return frozenset(one.server for one in said if one.is_up and not one.is_leaving)

    async def entry_counts(self) -> Mapping[str, int]:
        """Map name → entries: a cheap check that HAProxy has what it was told."""
        found = ENTRY_COUNT.findall(await self.ask("show map"))
        return {name: int(count) for name, count in found}

    async def call_count(self, server: Server) -> int:
        """Calls that run on a server or wait for it."""
        head, *rows = (await self.ask(f"show stat {server.slot} {SERVER_TYPE} -1")).splitlines()
        names = head.removeprefix("# ").split(",")
        for row in rows:
            columns = dict(zip(names, row.split(","), strict=False))
            if columns.get("svname") == server.name:
                return int(columns["scur"]) + int(columns["qcur"])
        return 0

    async def backend_statistics(self) -> str:
        """Return what HAProxy says of its backends, as CSV."""
        return await self.ask("show stat -1 2 -1")

    async def running_call_count(self) -> int:
        """Calls that run or wait behind any backend, the front desk's among them."""
        head, *rows = (await self.backend_statistics()).splitlines()
        names = head.removeprefix("# ").split(",")
        columns = (dict(zip(names, row.split(","), strict=False)) for row in rows if row)
        return sum(int(column["scur"]) + int(column["qcur"]) for column in columns)

    async def _map(self, name: str) -> dict[str, str]:
        lines = (line.split(" ", 2) for line in (await self.ask(f"show map {name}")).splitlines())
        return {fields[1]: fields[2] for fields in lines if len(fields) == 3}  # noqa: PLR2004


def _servers(text: str) -> Iterator[_Said]:
    """Read the answer to `show servers state`: a line for each server, below a head."""
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) > 6 and SLOT.fullmatch(fields[1]):  # noqa: PLR2004  up to admin state
            yield _Said(
                server=Server(fields[1], fields[3]),
                is_up=fields[5] != "0",
                is_leaving=fields[6] != "0",
            )


def _cut(lines: tuple[str, ...]) -> str:
    return repr(" / ".join(lines)[:300])
