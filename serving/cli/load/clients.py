"""The clients of a load test: each asks, waits for the answer, checks it and writes it down."""

import asyncio
import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from runtimes.errors import BasculeError
from serving.cli.load.callers import Caller, HttpCaller
from serving.cli.load.grpc_callers import GrpcCaller, StreamCaller
from serving.cli.load.ledger import Entry, Ledger, Outcome
from serving.cli.load.question import Question
from serving.cli.load.truth import Steps, Truth, Verdict
from serving.host_port import HostPort
from serving.ids import version_number

AFTER_FAILURE_S: Final = 0.01  # a refused connection must not turn into a busy loop
FIRST_SEQUENCE: Final = 1 << 40  # far from the ids of other callers


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question and its right answers."""

    question: Question
    truth: Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Who asks what, where."""

    http: HostPort
    grpc: HostPort
    asked: tuple[Asked, ...]
    """The clients take them in turns."""
    http_client_count: int = 4
    grpc_client_count: int = 4
    new_share: float = 0.0
    """So much of the HTTP and the gRPC clients open a connection for each request."""
    stream_count: int = 0
    sequence_count: int = 0
    """Clients of sequences; every other one over gRPC."""
    rate: float = 0.0
    """Requests per second of each client; 0: the next one as soon as an answer is there."""
    limit_s: float = 60.0

    def client_count(self) -> int:
        """Return how many there are of all kinds."""
        plain_count = self.http_client_count + self.grpc_client_count
        return plain_count + self.stream_count + self.sequence_count


@dataclass(frozen=True, slots=True, kw_only=True)
class _Client:
    """One client: how it asks, and what."""

    transport: str
    connection: str
    caller: Caller
    asked: Asked
    body_bytes: int


async def record(load: Load, stop: asyncio.Event, ledger: Ledger) -> None:
    """Run the clients until `stop` is set; returns when every request has been answered."""
    numbers = itertools.count(time.time_ns() % FIRST_SEQUENCE + FIRST_SEQUENCE)
    async with asyncio.TaskGroup() as group:
        clients = list(_clients(load))
        for index, client in enumerate(clients):
            pace = _Pace(load.rate, index / len(clients))
            group.create_task(_run(client, pace, stop, ledger, numbers))


class Learner:
    """Asks a version by its number, over HTTP."""

    def __init__(self, address: HostPort, question: Question, limit_s: float) -> None:
        """Remember whom to ask what."""
        self._address = address
        self._question = question
        self._limit_s = limit_s
        self._numbers = itertools.count(time.time_ns() % FIRST_SEQUENCE + 2 * FIRST_SEQUENCE)

    async def __call__(self, version: str) -> Steps:
        """Return the version's outputs at each step.

        Raises:
            BasculeError: It does not answer.
        """
        caller = HttpCaller(
            self._address, self._question, self._limit_s, version=version_number(version)
        )
        number = next(self._numbers)
        try:
            return tuple(
                [
                    (await caller.infer(parameters)).outputs
                    for parameters in _steps(self._question, number)
                ]
            )
        finally:
            await caller.close()


def _clients(load: Load) -> Iterator[_Client]:
    turns = itertools.cycle(load.asked)
    for kind, count in (("http", load.http_client_count), ("grpc", load.grpc_client_count)):
        new_count = round(count * load.new_share)
        for index in range(count):
            yield _unary(kind, load, next(turns), is_new=index < new_count)
    for _ in range(load.stream_count):
        asked = next(turns)
        caller = StreamCaller(load.grpc, asked.question, load.limit_s)
        yield _client("stream", caller, asked, is_new=False)
    for index in range(load.sequence_count):
        yield _unary("grpc" if index % 2 else "http", load, next(turns), is_new=False)


def _unary(kind: str, load: Load, asked: Asked, *, is_new: bool) -> _Client:
    caller: Caller
    if kind == "http":
        caller = HttpCaller(load.http, asked.question, load.limit_s, is_new=is_new)
    else:
        caller = GrpcCaller(load.grpc, asked.question, load.limit_s, is_new=is_new)
    return _client(kind, caller, asked, is_new=is_new)


def _client(transport: str, caller: Caller, asked: Asked, *, is_new: bool) -> _Client:
    return _Client(
        transport=transport,
        connection="new" if is_new else "kept",
        caller=caller,
        asked=asked,
        body_bytes=asked.question.body_bytes(),
    )


async def _run(
    client: _Client, pace: "_Pace", stop: asyncio.Event, ledger: Ledger, numbers: Iterator[int]
) -> None:
    try:
        while not stop.is_set():
            await _ask(client, next(numbers), pace, ledger)
    finally:
        await client.caller.close()


async def _ask(client: _Client, number: int, pace: "_Pace", ledger: Ledger) -> None:
    """Ask once, or every step of one sequence; a step that fails ends it."""
    question = client.asked.question
    began_s = 0.0
    for step, parameters in enumerate(_steps(question, number)):
        await pace.turn()
        sent_s = time.monotonic()
        began_s = began_s or sent_s
        version = ""
        try:
            reply = await client.caller.infer(parameters)
        except BasculeError as error:
            answered_s = time.monotonic()
            verdict = Verdict(Outcome.FAILED, error.message)
        else:
            answered_s = time.monotonic()
            version = reply.version
            verdict = await client.asked.truth.judged(reply, step)
        ledger.add(
            Entry(
                transport=client.transport,
                connection=client.connection,
                body_bytes=client.body_bytes,
                began_s=began_s,
                sent_s=sent_s,
                answered_s=answered_s,
                version=version,
                outcome=verdict.outcome,
                error=verdict.error,
                sequence=number if question.step_count else 0,
            )
        )
        if verdict.outcome is Outcome.FAILED:
            await asyncio.sleep(AFTER_FAILURE_S)
            return


def _steps(question: Question, number: int) -> Iterator[Mapping[str, int | bool]]:
    """The parameters of each request: none, or those of a sequence's steps."""
    if not question.step_count:
        yield {}
    for step in range(question.step_count):
        yield {
            "sequence_id": number,
            "sequence_start": step == 0,
            "sequence_end": step == question.step_count - 1,
        }


class _Pace:
    """One client's turns: evenly spaced, between those of others; a late one is not caught up."""

    def __init__(self, rate: float, phase: float) -> None:
        self._gap_s = 1 / rate if rate else 0.0
        self._next_s = time.monotonic() + phase * self._gap_s

    async def turn(self) -> None:
        """Wait until the next request is due."""
        if not self._gap_s:
            return
        wait_s = self._next_s - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        self._next_s = max(self._next_s, time.monotonic() - self._gap_s) + self._gap_s
