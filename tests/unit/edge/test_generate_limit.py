"""Calls of generate in flight are bounded: each holds connections and memory of the front desk."""

import asyncio
from pathlib import Path

import pytest

from serving.edge import generate_relay
from serving.edge.generate_relay import GenerateRelay
from serving.errors import QueueFullError
from serving.local_http import LocalReply

BODY = b'{"inputs": []}'


class HeldRelay(GenerateRelay):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"))
        self.gate = asyncio.Event()

    async def _sent(self, *_: object) -> LocalReply:
        await self.gate.wait()
        return LocalReply(404, b"{}")


@pytest.mark.parametrize(
    ("limit", "most", "said"),
    [
        ("MAX_CALLS", 2, "2 calls of generate are in flight"),
        ("MAX_BODIES_BYTES", 2 * len(BODY), f"{2 * len(BODY)} of {2 * len(BODY)} bytes are in "),
    ],
)
def test_one_too_many_is_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch, limit: str, most: int, said: str
) -> None:
    """It was not executed; with an answer, or a client that leaves, there is room again."""
    monkeypatch.setattr(generate_relay, limit, most)

    async def run() -> None:
        relay = HeldRelay()

        async def call() -> int:
            path = "/v2/models/m/generate"
            return (await relay.ask(path, BODY, headers={})).status

        async with asyncio.TaskGroup() as group:
            held, leaving = group.create_task(call()), group.create_task(call())
            await asyncio.sleep(0)
            with pytest.raises(QueueFullError, match=said):
                await call()
            leaving.cancel()
            await asyncio.sleep(0)
            other = group.create_task(call())
            await asyncio.sleep(0)
            relay.gate.set()
        assert (held.result(), other.result()) == (404, 404)

    asyncio.run(run())
