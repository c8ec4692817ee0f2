"""Who is busy lets others know that it lives."""

import asyncio

from serving.cluster.heartbeat import beating


def test_it_beats_while_the_work_lasts_and_no_longer() -> None:
    """The work here ends after the third beat."""

    async def work() -> int:
        count, done = 0, asyncio.Event()

        async def beat() -> None:
            nonlocal count
            count += 1
            if count == 3:
                done.set()

        async with (
            asyncio.timeout(5),
            asyncio.TaskGroup() as group,
            beating(beat, group.create_task, 0.0),
        ):
            await done.wait()
        return count  # the group has ended: nobody beats any more

    assert asyncio.run(work()) == 3
