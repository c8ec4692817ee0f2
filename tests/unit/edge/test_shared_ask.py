"""A crowd that asks at once costs two questions, and nobody gets what was there before it."""

import asyncio
from dataclasses import dataclass, field

import pytest

from serving.edge.shared_ask import SharedAsk


@dataclass
class Counter:
    """Counts, and is asked slowly: an answer tells what had been counted when it was begun."""

    count: int = 0
    asked_count: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    is_broken: bool = False

    async def ask(self) -> int:
        """Return the count."""
        self.asked_count += 1
        count = self.count
        await self.gate.wait()
        if self.is_broken:
            raise OSError("broken")
        return count


async def turns() -> None:
    """Let everybody come as far as they can."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_crowd_shares_one_answer_that_is_as_new_as_each_of_them() -> None:
    """Whoever comes while a question is on its way gets the answer to the next one."""

    async def run() -> None:
        counter = Counter()
        shared = SharedAsk(counter.ask)
        async with asyncio.TaskGroup() as group:
            first = group.create_task(shared())
            await turns()
            counter.count = 7
            crowd = [group.create_task(shared()) for _ in range(100)]
            await turns()
            counter.gate.set()
        assert (first.result(), {each.result() for each in crowd}) == (0, {7})
        assert counter.asked_count == 2
        counter.count = 8
        assert await shared() == 8

    asyncio.run(run())


def test_who_leaves_or_fails_takes_nobody_along() -> None:
    """The next one asks by itself."""

    async def run() -> None:
        counter = Counter(count=3)
        shared = SharedAsk(counter.ask)
        async with asyncio.TaskGroup() as group:
            leaving = group.create_task(shared())
            await turns()
            other = group.create_task(shared())
            await turns()
            leaving.cancel()
            await turns()
            counter.gate.set()
        assert other.result() == 3
        counter.is_broken = True
        with pytest.raises(OSError, match="broken"):
            await shared()
        counter.is_broken = False
        assert await shared() == 3

    asyncio.run(run())
