"""How much a running instance can do in time: a closed loop first, then rates that are kept."""

import asyncio
import time
from collections.abc import Sequence
from itertools import cycle
from typing import Final

import aiohttp

from serving.cli.load.open_loop import ANSWERED, OpenLoop
from serving.cli.load.summary import quantile
from serving.cli.predict_http import Body, infer_headers
from serving.cli.tune.instance import Private, TrialError
from serving.cli.tune.rates import next_rate
from serving.cli.tune.records import Stage

CONNECTIONS: Final = 32
WARM_S: Final = 0.5
CAPACITY_S: Final = 1.0
LEAST_CALLS: Final = 200
"""A p99 of fewer calls says nothing."""
LONGEST_STAGE: Final = 3
"""Times the length that was asked for: a slow model gets fewer calls."""
REFUSED: Final = 503
REFUSED_PAUSE_S: Final = 0.02
PATIENCE: Final = 10
"""A call is given up after so many times what it may take, and a second."""


async def measured(
    instance: Private, path: str, bodies: Sequence[Body], slo_s: float, stage_s: float
) -> tuple[Stage, ...]:
    """Return the stages that lead to the highest rate that holds.

    Args:
        instance: What is asked.
        path: Where the model is asked.
        bodies: What is asked in turns.
        slo_s: What 99 of 100 calls may take.
        stage_s: Length of a stage, at least.

    Raises:
        TrialError: It answered nothing.
    """
    url = f"http://{instance.http}{path}"
    await _capacity(url, bodies, WARM_S)
    capacity = await _capacity(url, bodies, CAPACITY_S)
    stages: list[Stage] = []
    while (rate := next_rate(capacity, stages, slo_s)) is not None:
        length_s = min(LONGEST_STAGE * stage_s, max(stage_s, LEAST_CALLS / rate))
        loop = OpenLoop(url, bodies, seed=len(stages), timeout_s=PATIENCE * slo_s + 1)
        stages.append(await _stage(loop, rate, length_s))
    return tuple(stages)


async def _stage(loop: OpenLoop, rate: float, length_s: float) -> Stage:
    began_s, cpu_s = time.monotonic(), time.process_time()
    calls = await loop.run(rate, length_s)
    share = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
    times_s = sorted(call.took_s for call in calls if call.status == ANSWERED)
    return Stage(
        rate=rate,
        call_count=len(calls),
        failed_count=len(calls) - len(times_s),
        p50_s=quantile(times_s, 0.5),
        p99_s=quantile(times_s, 0.99),
        client_share=share,
    )


async def _capacity(url: str, bodies: Sequence[Body], seconds: float) -> float:
    """Return the calls a second that clients get who wait for their answers."""
    answered = 0
    failure = ""
    began_s = time.monotonic()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(start: int) -> None:
            nonlocal answered
            turns = cycle((*bodies[start % len(bodies) :], *bodies[: start % len(bodies)]))
            while time.monotonic() - began_s <= seconds:
                is_answered = await _is_answered(session, url, next(turns))
                answered += is_answered  # in one step: others count meanwhile

        try:
            async with asyncio.TaskGroup() as group:
                for start in range(CONNECTIONS):
                    group.create_task(ask(start))
        except* TrialError as errors:
            failure = str(errors.exceptions[0])
        except* (aiohttp.ClientError, TimeoutError) as errors:
            first = errors.exceptions[0]
            failure = f"a call broke: {type(first).__name__}: {first}".removesuffix(": ")
    if failure:  # raised within a clause, older Pythons put it into a group
        raise TrialError(failure)
    if not answered:
        raise TrialError(f"every call was refused with status {REFUSED}")
    return answered / (time.monotonic() - began_s)


async def _is_answered(session: aiohttp.ClientSession, url: str, body: Body) -> bool:
    """Ask once. A bounded queue may be full: that caller pauses, so that others find the limit."""
    reply = await session.post(url, data=body.content, headers=infer_headers(body))
    text = await reply.read()
    if reply.status not in (ANSWERED, REFUSED):
        told = text[:200].decode(errors="replace")
        raise TrialError(
            f"a call was refused with status {reply.status}: {told}: if that is for what was "
            "asked, --input FILE asks something else"
        )
    if reply.status == REFUSED:
        await asyncio.sleep(REFUSED_PAUSE_S)
    return reply.status == ANSWERED
