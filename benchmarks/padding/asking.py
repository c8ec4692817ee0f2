"""Asks a server every call once: a closed loop of some connections that take the calls in turn.

All calls are waited for, so none is cut off at the end: what the server spent, it spent on these.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Final

import aiohttp

from benchmarks.loads import Request
from benchmarks.padding.answers import Answer
from benchmarks.padding.calls import Ids, feed_of
from runtimes.errors import BasculeError
from serving.cli.load.open_loop import ANSWERED
from serving.cli.predict_http import (
    HEADER_LENGTH,
    Body,
    infer_headers,
    read_body,
    read_prediction,
    refusal_text,
)

LIMIT_S: Final = 60.0
"""For an answer."""


def requests_of(model: str, calls: Sequence[Ids]) -> list[Request]:
    """Return calls as they are asked of a model."""
    return [Request(model=model, inputs=feed_of([ids])) for ids in calls]


async def ask_all(address: str, requests: Sequence[Request], connections: int) -> list[Answer]:
    """Ask; return the answers in the order of the requests."""
    answers: dict[int, Answer] = {}
    turns = iter(enumerate(requests))
    async with (
        aiohttp.ClientSession(
            f"http://{address}",
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=LIMIT_S),
        ) as session,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(connections):
            group.create_task(_client(session, turns, answers))
    return [answers[place] for place in range(len(requests))]


async def _client(
    session: aiohttp.ClientSession,
    turns: Iterator[tuple[int, Request]],
    answers: dict[int, Answer],
) -> None:
    for place, request in turns:
        answers[place] = await _ask(session, request)


async def _ask(session: aiohttp.ClientSession, request: Request) -> Answer:
    body = Body(*request.http_body())
    sent_s = time.perf_counter()
    try:
        async with session.post(
            request.path, data=body.content, headers=infer_headers(body)
        ) as reply:
            content = await reply.read()
            took_s = time.perf_counter() - sent_s
        if reply.status != ANSWERED:
            return Answer(took_s=took_s, error=refusal_text(content, reply.status))
        (output,) = read_prediction(read_body(content, reply.headers.get(HEADER_LENGTH))).outputs
    except (aiohttp.ClientError, TimeoutError, BasculeError) as error:
        took_s = time.perf_counter() - sent_s
        return Answer(took_s=took_s, error=f"{type(error).__name__}: {error}")
    return Answer(took_s=took_s, embedding=output.array[0])
