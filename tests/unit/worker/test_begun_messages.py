"""How peers are told of sequences that began, when there are many or they do not listen."""

import asyncio
from pathlib import Path

import msgspec
from structlog.testing import capture_logs

from serving.errors import NotFoundError
from serving.wire.peer_table import PeerTable
from serving.worker.handover import MAX_BEGUN_BYTES, Begun, Handover
from tests.unit.worker.test_handover import ANSWER, Peers, Step, unknown

REFUSAL = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\n\r\n"


def told(folder: Path, *ids: str, reply: bytes = ANSWER) -> list[bytes]:
    """Begin sequences; return the bodies that the peer has got before the next step goes there."""
    peers = Peers(folder)

    async def run() -> None:
        async with peers.stack:
            handover = Handover("w9", asyncio.get_running_loop(), lambda: 0)
            handover.take(PeerTable(peers=(await peers.add(1, reply),)))
            for sequence in ids:
                handover.begin("m", sequence)
            step = Step()
            handover.hand_on(step, unknown(), b"")
            await step.answered.wait()

    asyncio.run(run())
    return [request.partition(b"\r\n\r\n")[2] for request in peers.seen[:-1]]


def test_no_message_is_larger_than_what_a_peer_reads(tmp_path: Path) -> None:
    """Together they name every sequence, once."""
    ids = [f"{number:0>200000}" for number in range(12)]

    bodies = told(tmp_path, *ids)

    assert max(len(body) for body in bodies) <= MAX_BEGUN_BYTES
    named = [msgspec.json.decode(body, type=Begun).ids for body in bodies]
    assert sorted(sequence for some in named for sequence in some) == ids


def test_a_peer_that_refuses_is_logged(tmp_path: Path) -> None:
    """One id can be too large; its sequence may go on there, and whoever looks shall know."""
    with capture_logs() as events:
        (body,) = told(tmp_path, "x" * (MAX_BEGUN_BYTES + 1), reply=REFUSAL)

    assert len(body) > MAX_BEGUN_BYTES
    (event,) = [event for event in events if event["event"] == "sequences_not_ended"]
    assert event["reply"].startswith("HTTP/1.1 413 ")


def test_a_sequence_that_was_lost_here_may_begin_anew_at_a_peer(tmp_path: Path) -> None:
    """Its steps go there as any others; what is told of another model changes nothing."""
    peers = Peers(tmp_path)

    async def run() -> list[Step]:
        async with peers.stack:
            handover = Handover("w9", asyncio.get_running_loop(), lambda: 0)
            handover.take(PeerTable(peers=(await peers.add(1, ANSWER),)))
            steps = [Step() for _ in range(3)]
            handover.hand_on(steps[0], unknown(), b"")
            handover.drop(steps[0])
            for model, step in zip(("other", "m"), steps[1:], strict=True):
                handover.forget_lost(Begun(model=model, worker="w1", ids=(7,)))
                handover.hand_on(step, unknown(), b"")
                await step.answered.wait()
            return steps[1:]

    still_lost, anew = asyncio.run(run())
    assert isinstance(still_lost.error, NotFoundError)
    assert anew.reply.endswith(b"yes")
