"""Steps whose sequence another worker has: who answers, and what is said if nobody can."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.errors import NotFoundError
from serving.wire.peer_table import PeerTable, SequencePeer
from serving.worker import handover as handing
from serving.worker.handover import (
    LOST_HERE,
    NOT_HERE,
    Buffer,
    Handover,
    Miss,
    UnknownStepError,
)
from tests.fakes.sequence_bench import SequenceBench, StepCall

IDLE_NS = 10**9
ANSWER = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nyes"
TRAILED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\ngrpc-status: 0\r\n\r\n"


class Step:
    """A step, and how it was answered."""

    def __init__(self, *, is_handed_on: bool = False) -> None:
        self.headers: Mapping[bytes, bytes] = {b"host": b"edge", b"grpc-timeout": b"5S"}
        self.keep_alive = True
        self.is_handed_on = is_handed_on
        self.request_target = b"/v2/models/m/infer"
        self.answered = asyncio.Event()
        self.reply = b""
        self.error: BasculeError | None = None

    def fail(self, error: BasculeError) -> None:
        """Take the error."""
        self.error = error
        self.answered.set()

    def relay(self, reply: Sequence[Buffer]) -> None:
        """Take the reply."""
        self.reply = b"".join(reply)
        self.answered.set()


class Peers:
    """Workers that give one answer each, on sockets of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: list[bytes] = []
        self.came = asyncio.Event()
        self.stack = AsyncExitStack()

    async def add(self, version: int, reply: bytes) -> SequencePeer:
        """Start one; without a reply it hangs up."""

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.rpartition(b"content-length: ")[2])
            self.seen.append(head + await reader.readexactly(size))
            self.came.set()
            writer.write(reply)
            writer.close()

        socket = str(self.folder / f"{version}.sock")
        server = await asyncio.start_unix_server(converse, socket)
        self.stack.callback(server.close)
        return SequencePeer(model="m", version=version, worker=f"w{version}", socket=socket)


def unknown(own: type[BasculeError] = InvalidArgumentError) -> UnknownStepError:
    """A step of sequence 7 that is not here."""
    return UnknownStepError(own("START missing"), Miss("m", 7, IDLE_NS))


def hand_on(folder: Path, *replies: bytes, steps: int = 1) -> tuple[list[Step], Peers]:
    """Hand steps on, with peers that reply so."""
    peers = Peers(folder)

    async def run() -> list[Step]:
        async with peers.stack:
            handover = Handover("w9", asyncio.get_running_loop(), lambda: 0)
            found = [await peers.add(number, reply) for number, reply in enumerate(replies, 1)]
            handover.take(PeerTable(peers=tuple(found)))
            made = [Step() for _ in range(steps)]
            for step in made:
                handover.hand_on(step, unknown(), b"body")
            for step in made:
                await step.answered.wait()
            return made

    return asyncio.run(run()), peers


def test_the_first_that_has_the_sequence_answers(tmp_path: Path) -> None:
    """Its reply comes back as it is; the client's connection is not closed with ours."""
    (step,), peers = hand_on(tmp_path, NOT_HERE, ANSWER)
    assert step.reply == b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes"
    head, _, body = peers.seen[1].partition(b"\r\n\r\n")
    assert body == b"body"
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /v2/models/m/infer HTTP/1.1"
    assert {b"bascule-version: 2", b"bascule-handed-on: 1", b"grpc-timeout: 5S"} < set(lines)
    assert b"host: edge" not in lines


def test_trailers_are_relayed(tmp_path: Path) -> None:
    """A gRPC reply is whole with its trailers."""
    (step,), _ = hand_on(tmp_path, TRAILED)
    assert step.reply == TRAILED


def test_what_nobody_has_is_answered_as_if_nobody_had_been_asked(tmp_path: Path) -> None:
    """The worker's own error, as it was."""
    (step,), _ = hand_on(tmp_path, NOT_HERE, NOT_HERE)
    assert isinstance(step.error, InvalidArgumentError)
    assert step.error.message == "START missing"


@pytest.mark.parametrize("reply", [LOST_HERE, b"", ANSWER[:-1], TRAILED[:-3]])
def test_a_worker_that_lost_it_or_ended_is_told_once_for_all(tmp_path: Path, reply: bytes) -> None:
    """404, and no later step of the sequence runs on a state that lacks this one."""
    steps, peers = hand_on(tmp_path, reply, steps=3)
    for step in steps:
        assert isinstance(step.error, NotFoundError)
        assert "start the sequence again" in step.error.message
    assert len([head for head in peers.seen if b"/worker/begun" not in head]) == 1


def test_steps_of_a_sequence_wait_for_each_other(tmp_path: Path) -> None:
    """However many come at once, the peer sees one after the other."""
    steps, peers = hand_on(tmp_path, ANSWER, steps=5)
    assert [step.reply[-3:] for step in steps] == [b"yes"] * 5
    assert len(peers.seen) == 5


def on_loop(work: Callable[[Handover, list[int]], Awaitable[None]]) -> None:
    """Run something with a handover and its clock."""

    async def run() -> None:
        now = [0]
        await work(Handover("w9", asyncio.get_running_loop(), lambda: now[0]), now)

    asyncio.run(run())


def test_a_step_that_was_handed_on_goes_no_further() -> None:
    """Its sender is told whether the sequence is unknown or lost."""

    async def work(handover: Handover, _: list[int]) -> None:
        peer = SequencePeer(model="m", version=1, worker="w1", socket="/nowhere")
        handover.take(PeerTable(peers=(peer,)))
        for own, reply in ((InvalidArgumentError, NOT_HERE), (NotFoundError, LOST_HERE)):
            step = Step(is_handed_on=True)
            handover.hand_on(step, unknown(own), b"")
            assert step.reply == reply

    on_loop(work)


def test_what_a_peer_had_that_left_is_lost_until_it_would_be_silent() -> None:
    """404 for as long as one of its sequences could have gone on; then the own error again."""

    async def work(handover: Handover, now: list[int]) -> None:
        peer = SequencePeer(model="m", version=1, worker="w1", socket="/nowhere")
        handover.take(PeerTable(peers=(peer,)))
        handover.take(PeerTable())
        for now_ns, expected in ((IDLE_NS - 1, NotFoundError), (IDLE_NS, InvalidArgumentError)):
            now[0] = now_ns
            step = Step()
            handover.hand_on(step, unknown(), b"")
            assert type(step.error) is expected

    on_loop(work)


def test_peers_hear_what_begins_here_or_is_lost(tmp_path: Path) -> None:
    """Together, if at about the same time: after another flip calls may come to them again."""
    peers = Peers(tmp_path)

    async def work(handover: Handover, _: list[int]) -> None:
        async with peers.stack:
            handover.take(PeerTable(peers=(await peers.add(1, ANSWER),)))
            for sequence in (8, "nine"):
                handover.begin("m", sequence)
            handover.begin("other", 1)
            handover.hand_on(left := Step(), unknown(), b"")
            handover.drop(left)
            await peers.came.wait()

    on_loop(work)
    assert len(peers.seen) == 1
    assert peers.seen[0].startswith(b"POST /worker/begun HTTP/1.1\r\n")
    assert peers.seen[0].endswith(b'{"model":"m","worker":"w9","ids":[8,"nine",7]}')


def test_a_client_that_leaves_ends_the_connection_to_the_peer(tmp_path: Path) -> None:
    """So the peer knows that nobody waits, as if the client had been its own."""

    async def work(handover: Handover, _: list[int]) -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            begun.set()
            await reader.read()
            ended.set()
            writer.close()

        socket = str(tmp_path / "s")
        async with await asyncio.start_unix_server(converse, socket):
            peer = SequencePeer(model="m", version=1, worker="w1", socket=socket)
            handover.take(PeerTable(peers=(peer,)))
            step = Step()
            handover.hand_on(step, unknown(), b"")
            await begun.wait()
            handover.drop(step)
            await ended.wait()
        assert not step.answered.is_set()

    on_loop(work)


class SlowPeer:
    """A worker that answers one step after the other, each when it is told."""

    def __init__(self, socket: Path) -> None:
        self.socket = str(socket)
        self.seen: asyncio.Queue[bytes] = asyncio.Queue()
        self.may_answer = asyncio.Event()

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a step of one byte, and no news."""
        if b"/worker/begun" in await reader.readuntil(b"\r\n\r\n"):
            writer.close()
            return
        self.seen.put_nowait(await reader.readexactly(1))
        await self.may_answer.wait()
        writer.write(ANSWER)
        writer.close()


@pytest.mark.parametrize("dropped", [0, 1], ids=["it was sent", "it waited"])
def test_no_step_runs_behind_one_whose_client_left(tmp_path: Path, dropped: int) -> None:
    """404 for all behind it, whether it waited or may have run; what is before it is answered."""

    async def work(handover: Handover, _: list[int]) -> None:
        slow = SlowPeer(tmp_path / "s")
        async with await asyncio.start_unix_server(slow.converse, slow.socket):
            peer = SequencePeer(model="m", version=1, worker="w1", socket=slow.socket)
            handover.take(PeerTable(peers=(peer,)))
            steps = [Step() for _ in range(4)]
            for step, body in zip(steps[:3], (b"A", b"B", b"C"), strict=True):
                handover.hand_on(step, unknown(), body)
            assert await slow.seen.get() == b"A"
            handover.drop(steps[dropped])
            slow.may_answer.set()
            await steps[2].answered.wait()
            handover.hand_on(steps[3], unknown(), b"D")
            for step in steps[:dropped]:
                await step.answered.wait()
        for step in steps[2:]:
            assert isinstance(step.error, NotFoundError)
            assert "left, and whether that one ran is not known: start" in step.error.message
        assert [step.reply[-3:] for step in steps[:dropped]] == [b"yes"] * dropped
        assert slow.seen.empty()

    on_loop(work)


def test_a_step_that_is_dropped_at_once_ends_its_sequence_too(tmp_path: Path) -> None:
    """Before its turn on the loop has come."""

    async def work(handover: Handover, _: list[int]) -> None:
        peer = SequencePeer(model="m", version=1, worker="w1", socket=str(tmp_path / "none"))
        handover.take(PeerTable(peers=(peer,)))
        steps = [Step(), Step()]
        for step in steps:
            handover.hand_on(step, unknown(), b"")
        handover.drop(steps[0])
        await steps[1].answered.wait()
        assert isinstance(steps[1].error, NotFoundError)
        assert "left, and whether" in steps[1].error.message

    on_loop(work)


def test_a_fault_of_ours_ends_the_sequence_too() -> None:
    """The step gets an internal error, and no step behind it runs."""

    async def work(handover: Handover, _: list[int]) -> None:
        peer = SequencePeer(model="m", version=1, worker="w1", tcp="nowhere:no-port")
        handover.take(PeerTable(peers=(peer,)))
        steps = [Step(), Step()]
        for step in steps:
            handover.hand_on(step, unknown(), b"")
        await steps[1].answered.wait()
        assert "internal error" in str(steps[0].error)
        assert isinstance(steps[1].error, NotFoundError)

    on_loop(work)


def test_a_peer_that_never_answers_holds_nobody_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts as gone: 404 for the step, and for those behind it."""
    monkeypatch.setattr(handing, "ANSWER_LIMIT_S", 0.01)

    async def work(handover: Handover, _: list[int]) -> None:
        slow = SlowPeer(tmp_path / "s")
        async with await asyncio.start_unix_server(slow.converse, slow.socket):
            peer = SequencePeer(model="m", version=1, worker="w1", socket=slow.socket)
            handover.take(PeerTable(peers=(peer,)))
            steps = [Step(), Step()]
            for step in steps:
                handover.hand_on(step, unknown(), b"A")
            async with asyncio.timeout(5):
                for step in steps:
                    await step.answered.wait()
            slow.may_answer.set()
        for step in steps:
            assert isinstance(step.error, NotFoundError)

    on_loop(work)


class RoutedCall(StepCall):
    """A step whose version the edge chose."""

    is_routed = True


class HandedCall(RoutedCall):
    """A step that another worker sent."""

    is_handed_on = True


def test_only_steps_whose_version_the_edge_chose_may_be_elsewhere() -> None:
    """Others get the error at once."""
    bench = SequenceBench()
    with pytest.raises(UnknownStepError):
        bench.submit(RoutedCall(7, 1))
    with pytest.raises(InvalidArgumentError):
        bench.submit(StepCall(7, 1))


def test_a_handed_step_finds_only_sequences_whose_version_the_edge_chose() -> None:
    """One of the same id that began by the version's name is another sequence."""
    bench = SequenceBench()
    handed = HandedCall(8, 1)
    bench.submit(StepCall(7, 1, start=True), RoutedCall(8, 1, start=True))
    bench.finish_all()
    with pytest.raises(UnknownStepError):
        bench.submit(HandedCall(7, 1))
    bench.submit(handed)
    bench.finish_all()
    assert handed.result == [2]
    assert bench.batcher.sequence_count == 2


def test_a_sequence_that_began_anew_elsewhere_is_over_here() -> None:
    """Its waiting steps are refused, a later one is not known."""
    bench = SequenceBench()
    waiting = RoutedCall(7, 2)
    bench.submit(RoutedCall(7, 1, start=True), waiting)
    bench.batcher.supersede([7, 99], "d2-0")
    bench.finish_all()
    assert isinstance(waiting.error, NotFoundError)
    assert "it began anew at worker d2-0" in waiting.error.message
    with pytest.raises(UnknownStepError):
        bench.submit(HandedCall(7, 3))


def test_a_worker_that_took_anothers_place_asks_nobody() -> None:
    """The edge may be sending a step again that the other one had handed on, and that has run."""
    bench = SequenceBench(has_predecessor=True, idle_s=10)
    with pytest.raises(NotFoundError, match="start the sequence again"):
        bench.submit(RoutedCall(7, 1))
    with pytest.raises(UnknownStepError) as unknown:
        bench.submit(HandedCall(7, 1))
    assert isinstance(unknown.value.own, NotFoundError)
    bench.loop.pass_time(11)
    with pytest.raises(UnknownStepError):
        bench.submit(RoutedCall(7, 1))
