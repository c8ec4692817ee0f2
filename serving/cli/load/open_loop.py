"""Calls that are sent when they are due, whether earlier ones were answered or not.

The moments are those of a Poisson process, and a latency counts from the moment at which a call was
to be sent: a server that falls behind cannot slow its own measurement down.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, cycle

import aiohttp

from serving.cli.predict_http import Body, infer_headers

ANSWERED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What became of a call. Seconds from the moment at which it was to be sent."""

    status: int
    """HTTP's; 0: no answer."""
    took_s: float
    has_retry_after: bool = False


@dataclass(slots=True)
class OpenLoop:
    """Sends one call after the other, at moments that were drawn before."""

    url: str
    bodies: Sequence[Body]
    """Calls take them in turns."""
    seed: int
    timeout_s: float = 30.0
    calls: list[Call] = field(default_factory=list)

    async def run(self, rate: float, seconds: float) -> list[Call]:
        """Send for some seconds at some calls a second; return when all were answered."""
        gaps = random.Random(self.seed)  # noqa: S311  moments, no secrets
        moments = accumulate(gaps.expovariate(rate) for _ in range(int(2 * rate * seconds) + 10))
        async with self._session() as session, asyncio.TaskGroup() as group:
            began_s = time.monotonic()
            for moment_s, body in zip(moments, cycle(self.bodies), strict=False):
                if moment_s > seconds:
                    break
                await asyncio.sleep(max(0.0, began_s + moment_s - time.monotonic()))
                group.create_task(self._call(session, body, began_s + moment_s))
        return self.calls

    async def run_one(self) -> list[Call]:
        """Send one call now."""
        async with self._session() as session:
            await self._call(session, self.bodies[0], time.monotonic())
        return self.calls

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=self.timeout_s),
        )

    async def _call(self, session: aiohttp.ClientSession, body: Body, due_s: float) -> None:
        headers = infer_headers(body)
        try:
            async with session.post(self.url, data=body.content, headers=headers) as reply:
                await reply.read()
                status, has_retry_after = reply.status, "retry-after" in reply.headers
        except (aiohttp.ClientError, TimeoutError):
            status, has_retry_after = 0, False
        took_s = time.monotonic() - due_s
        self.calls.append(Call(status=status, took_s=took_s, has_retry_after=has_retry_after))
