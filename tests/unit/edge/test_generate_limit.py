"""Calls of generate in flight are bounded: each holds connections of the front desk's process."""

import asyncio
from pathlib import Path

import pytest

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from serving.edge import generate_relay
from serving.edge.generate_relay import GenerateRelay
from serving.errors import QueueFullError
from serving.local_http import LocalReply

X = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1,))


class HeldRelay(GenerateRelay):
    """Answers when it is let."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"))
        self.gate = asyncio.Event()

    async def _sent(self, *_: object) -> LocalReply:
        await self.gate.wait()
        return LocalReply(404, b"{}")


def test_one_too_many_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not executed; with an answer, or a client that leaves, there is room again."""
    monkeypatch.setattr(generate_relay, "MAX_CALLS", 2)

    async def run() -> None:
        relay = HeldRelay()

        async def call() -> int:
            path = "/v2/models/m/generate"
            return (await relay.ask(path, {"x": [1.0]}, [X], headers={})).status

        async with asyncio.TaskGroup() as group:
            held, leaving = group.create_task(call()), group.create_task(call())
            await asyncio.sleep(0)
            with pytest.raises(QueueFullError, match="2 calls of generate are in flight"):
                await call()
            leaving.cancel()
            await asyncio.sleep(0)
            other = group.create_task(call())
            await asyncio.sleep(0)
            relay.gate.set()
        assert (held.result(), other.result()) == (404, 404)

    asyncio.run(run())
