"""One worker's part in shadow traffic: told what to copy and compare, asked what it has found.

The worker forgets both when it ends; this side of the link does not.
"""

import asyncio
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from serving.errors import NotReadyError
from serving.local_http import LocalHttp
from serving.monitor.comparison import ComparisonReport, Pair, merge_comparisons
from serving.worker.control import MirrorTable

LOOK_S: Final = 1.0
RETRY_S: Final = 0.1

log = structlog.get_logger(__name__)


class MirrorLink:
    """Belongs to the loop of a worker's host."""

    def __init__(self) -> None:
        """Tell the worker nothing."""
        self._table: MirrorTable | None = None
        self._has_changed = asyncio.Event()
        self._earlier: tuple[ComparisonReport, ...] = ()
        """Of workers that have ended."""
        self._now: tuple[ComparisonReport, ...] = ()

    @property
    def comparisons(self) -> tuple[ComparisonReport, ...]:
        """What is known of every comparison that the worker takes part in."""
        return merge_comparisons((*self._earlier, *self._now))

    def set(self, table: MirrorTable) -> None:
        """Say what the worker copies and compares from now on."""
        if table == self._table:
            return
        self._table = table
        pairs = {Pair(entry.model, entry.candidate, entry.version) for entry in table.mirrors}
        self._earlier = tuple(report for report in self._earlier if report.pair in pairs)
        self._now = tuple(report for report in self._now if report.pair in pairs)
        self._has_changed.set()

    async def run(self, http: LocalHttp) -> None:
        """Serve one life of the worker, by its control channel, until cancelled."""
        self._earlier, self._now = self.comparisons, ()
        told: MirrorTable | None = None
        while True:
            table = self._table
            try:
                if table != told and table is not None:
                    await _tell(http, table)
                    told = table
                if told is not None and told.mirrors:
                    await self._ask(http, told)
            except (NotReadyError, msgspec.DecodeError) as error:
                log.debug("worker_not_told", reason=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            await self._pause(is_asked_again=told is not None and bool(told.mirrors))

    async def _ask(self, http: LocalHttp, told: MirrorTable) -> None:
        reply = await http.ask("GET", "/worker/comparisons")
        found = msgspec.json.decode(reply.body, type=tuple[ComparisonReport, ...])
        if told == self._table:  # else it is of pairs that may be gone
            self._now = found

    async def _pause(self, *, is_asked_again: bool) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S if is_asked_again else None):
                await self._has_changed.wait()
        self._has_changed.clear()


async def _tell(http: LocalHttp, table: MirrorTable) -> None:
    reply = await http.ask("POST", "/worker/mirrors", msgspec.json.encode(table))
    if reply.status != 200:  # noqa: PLR2004  HTTP's OK
        text = reply.body.decode(errors="replace")
        raise NotReadyError(f"the worker did not take its mirrors: {text[:200]}")
