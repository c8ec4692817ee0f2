"""Which workers know of shared memory that clients register while routes change."""

import asyncio
import json

from tests.fakes.edge_worker import EdgeWorker
from tests.fakes.shared_memory import shared_object
from tests.integration.edge.bench import Bench, fresh_edge, snapshot, until

REGION = "/v2/systemsharedmemory/region/r"


def test_workers_know_regions_for_as_long_as_they_are_routed() -> None:
    """What is registered while routes change is known to the old worker too: it gets calls yet."""

    async def scenario(bench: Bench, key: str) -> None:
        one, two = await bench.add_worker("one"), await bench.add_worker("two")
        late = bench.workers["two"]
        late.readiness = asyncio.Event()
        controls = EdgeWorker("one"), EdgeWorker("two")
        async with (
            controls[0].serving(bench.settings.run_dir / "one.ctl"),
            controls[1].serving(bench.settings.run_dir / "two.ctl"),
            asyncio.TaskGroup() as group,
        ):
            await bench.edge.apply(snapshot(1, {"p1": [one]}, {("m", 1): "p1"}, {"m": 1}))
            table = snapshot(2, {"p2": [two]}, {("m", 2): "p2"}, {"m": 2})
            change = group.create_task(bench.edge.apply(table))
            await until(lambda: late.asked_count > 0)
            body = json.dumps({"key": key, "byte_size": 64}).encode()
            registered = await bench.ask("POST", f"{REGION}/register", body)
            assert (registered.status, change.done()) == (200, False)
            assert [len(control.told) for control in controls] == [1, 1]
            late.readiness.set()
            await change
            await bench.ask("POST", f"{REGION}/unregister")
            assert [len(control.told) for control in controls] == [1, 2]

    async def run() -> None:
        with shared_object(64) as key:
            async with asyncio.timeout(90), fresh_edge(system_shared_memory=True) as bench:
                await scenario(bench, key)

    asyncio.run(run())
