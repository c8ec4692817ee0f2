"""Routes and workers that change while calls run."""

import asyncio
import json
from collections.abc import Mapping
from typing import Self

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc

from serving.edge.edge import LOCAL_NODE
from serving.edge.routes import LiveRoute, WorkerAddress
from serving.errors import NotReadyError
from tests.fakes.edge_worker import EdgeWorker
from tests.fakes.waiting import PATIENCE_S, while_others_work
from tests.integration.edge.bench import Bench, fresh_edge, snapshot

CLIENTS = 4


class Load:
    """Clients that call one model in a closed loop and note who answered."""

    def __init__(self, bench: Bench, path: str = "/v2/models/m/infer") -> None:
        """Prepare; entering the context starts it."""
        self._bench = bench
        self._path = path
        self._stop = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self.answers: list[Mapping[str, str]] = []
        self.refused: list[str] = []
        self.begun = 0

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        for _ in range(CLIENTS):
            self._group.create_task(self._client())
        await while_others_work(lambda: len(self.answers) > CLIENTS, "the first answers")
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stop.set()
        await self._group.__aexit__(None, None, None)

    async def more(self, count: int) -> None:
        """Return when so many further calls have been answered or refused."""
        target = len(self.answers) + len(self.refused) + count
        await while_others_work(
            lambda: len(self.answers) + len(self.refused) >= target, f"{count} more answers"
        )

    async def _client(self) -> None:
        while not self._stop.is_set():
            self.begun += 1
            number = self.begun
            try:
                answer = await self._bench.infer(self._path)
            except (AssertionError, OSError) as error:
                self.refused.append(str(error))
            else:
                self.answers.append({**answer, "begun": str(number)})


def test_no_call_begun_after_a_flip_gets_the_old_version() -> None:
    """Once `apply` has returned, every call is answered by the new version; none fails."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            one, two = await bench.add_worker("one"), await bench.add_worker("two")
            pools = {"p1": [one], "p2": [two]}
            versions = {("m", 1): "p1", ("m", 2): "p2"}
            await bench.edge.apply(snapshot(1, pools, versions, {"m": 1}))
            async with Load(bench) as load:
                await load.more(50)
                await bench.edge.apply(snapshot(2, pools, versions, {"m": 2}))
                flipped_at = load.begun
                await load.more(50)
            later = {
                answer["model_version"]
                for answer in load.answers
                if int(answer["begun"]) > flipped_at
            }
            assert (later, load.refused) == ({"2"}, [])

    asyncio.run(scenario())


def test_a_pool_replaces_another_without_a_failed_call() -> None:
    """New pool in, old pool out, in one change, again and again, under load."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            first = await bench.add_worker("w0")
            await bench.edge.apply(snapshot(1, {"p0": [first]}, {("m", 1): "p0"}, {"m": 1}))
            async with Load(bench) as load:
                for number in range(1, 6):
                    worker = await bench.add_worker(f"w{number}")
                    pool = f"p{number}"
                    table = snapshot(
                        number + 1, {pool: [worker]}, {("m", number + 1): pool}, {"m": number + 1}
                    )
                    await bench.edge.apply(table)
                    await load.more(20)
            assert load.refused == []
            assert load.answers[-1]["model_name"] == "w5"

    asyncio.run(scenario())


def test_a_worker_that_dies_costs_no_call_when_there_is_another() -> None:
    """Calls of a dead worker are sent to the other one of its pool."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            stays = await bench.add_worker("stays")
            goes = EdgeWorker("goes")
            context = goes.serving(bench.worker_path("goes"))
            await context.__aenter__()
            address = type(stays)("goes", stays.node, str(bench.worker_path("goes")))
            await bench.edge.apply(snapshot(1, {"p": [stays, address]}, {("m", 1): "p"}, {"m": 1}))
            async with Load(bench) as load:
                await load.more(50)
                await context.__aexit__(None, None, None)
                await load.more(200)
            assert (load.refused, len(goes.seen) > 0) == ([], True)

    asyncio.run(scenario())


def test_a_call_that_came_in_pieces_can_be_sent_again() -> None:
    """A worker that dies with a call whose body came after its head costs that call nothing."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            pool = [await bench.add_worker("dies", dies=True), await bench.add_worker("stays")]
            await bench.edge.apply(snapshot(1, {"p": pool}, {("m", 1): "p"}, {"m": 1}))
            address = bench.settings.http
            for _ in range(4):
                reader, writer = await asyncio.open_connection(address.host, address.port)
                writer.write(
                    b"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n"
                )
                await writer.drain()
                # HAProxy has one thread: when this is answered, it has read the head.
                await bench.ask("GET", "/v2/health/live")
                writer.write(b"{}")
                line = await reader.readline()
                writer.close()
                assert line.startswith(b"HTTP/1.1 200"), line
            assert bench.workers["dies"].begun

    asyncio.run(scenario())


def test_a_worker_comes_back_at_its_socket_without_a_command() -> None:
    """A restart at the same path is found by health checks."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            worker = EdgeWorker("w")
            path = bench.worker_path("w")
            address = await bench.add_worker("other")
            address = type(address)("w", address.node, str(path))
            async with worker.serving(path):
                await bench.edge.apply(snapshot(1, {"p": [address]}, {("m", 1): "p"}, {"m": 1}))
                await bench.infer("/v2/models/m/infer")
            away = await bench.ask("POST", "/v2/models/m/infer", b"{}")
            async with worker.serving(path), asyncio.timeout(PATIENCE_S):
                while (await bench.ask("POST", "/v2/models/m/infer", b"{}")).status != 200:
                    pass
            assert (away.status, away.content_type) == (503, "application/json")

    asyncio.run(scenario())


def test_a_worker_that_is_not_there_yet_delays_no_change() -> None:
    """A change that names a worker nobody can reach is applied all the same."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            there = await bench.add_worker("there")
            away = type(there)("away", there.node, str(bench.worker_path("away")))
            table = snapshot(3, {"p": [there, away]}, {("m", 1): "p"}, {"m": 1})
            assert await bench.edge.apply(table) == 3
            names = {(await bench.infer("/v2/models/m/infer"))["model_name"] for _ in range(20)}
            assert names == {"there"}

    asyncio.run(scenario())


@pytest.mark.parametrize("pool", ["p1", "p2"], ids=["another worker", "another pool"])
def test_routes_change_when_the_new_worker_answers(pool: str) -> None:
    """One that is late when it is asked costs no call: the old worker answers until it is up."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            one, two = await bench.add_worker("one"), await bench.add_worker("two")
            late = bench.workers["two"]
            late.readiness = asyncio.Event()
            await bench.edge.apply(snapshot(1, {"p1": [one]}, {("m", 1): "p1"}, {"m": 1}))
            async with Load(bench) as load, asyncio.TaskGroup() as group:
                table = snapshot(2, {pool: [two]}, {("m", 2): pool}, {"m": 2})
                change = group.create_task(bench.edge.apply(table))
                await while_others_work(
                    lambda: late.asked_count >= 2, "it is asked"
                )  # by the edge, then by HAProxy
                await load.more(20)
                assert not change.done()
                late.readiness.set()
                await change
                await load.more(20)
            assert (load.refused, load.answers[-1]["model_name"]) == ([], "two")

    asyncio.run(scenario())


def test_a_silent_worker_takes_no_call_that_another_can_answer() -> None:
    """It is up when it has answered HAProxy, not before, and delays no change."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            there, late = await bench.add_worker("there"), await bench.add_worker("late")
            bench.workers["late"].readiness = asyncio.Event()
            bench.workers["late"].delay_s = 60.0
            table = snapshot(1, {"p": [there, late]}, {("m", 1): "p"}, {"m": 1})
            await bench.edge.apply(table)
            async with Load(bench) as load:
                await load.more(100)
            assert (load.refused, bench.workers["late"].begun) == ([], [])

    asyncio.run(scenario())


def test_a_worker_that_stays_silent_does_not_hold_changes_up_for_good() -> None:
    """Its calls are refused until it answers; other routes change."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            one, two = await bench.add_worker("one"), await bench.add_worker("two")
            bench.workers["two"].readiness = silence = asyncio.Event()
            pools, versions = {"p1": [one], "p2": [two]}, {("m", 1): "p1", ("n", 1): "p2"}
            await bench.edge.apply(snapshot(1, pools, versions, {"m": 1, "n": 1}))
            refused = await bench.ask("POST", "/v2/models/n/infer", b"{}")
            assert (refused.status, await bench.version_of("/v2/models/m/infer")) == (503, "1")
            silence.set()
            async with asyncio.timeout(PATIENCE_S):
                while (await bench.ask("POST", "/v2/models/n/infer", b"{}")).status != 200:
                    pass

    asyncio.run(scenario())


def test_a_candidate_gets_its_share() -> None:
    """A share of one half is about one half; an explicit version never takes part."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            one, two = await bench.add_worker("one"), await bench.add_worker("two")
            versions = {("m", 1): "p1", ("m", 2): "p2"}
            half = LiveRoute(1, candidate=2, candidate_share=5_000)
            await bench.edge.apply(snapshot(1, {"p1": [one], "p2": [two]}, versions, {"m": half}))
            chosen = [await bench.version_of("/v2/models/m/infer") for _ in range(400)]
            explicit = {await bench.version_of("/v2/models/m/versions/1/infer") for _ in range(50)}
            assert 120 < chosen.count("2") < 280  # eight standard deviations either way
            assert explicit == {"1"}

    asyncio.run(scenario())


@pytest.mark.parametrize("sticky_by", ["", "x-user"])
def test_a_candidate_that_is_down_gets_no_call(sticky_by: str) -> None:
    """When its last worker is known to be gone, the live version answers, also those with a key."""

    async def scenario() -> None:
        async with fresh_edge(sticky_headers=("x-user",)) as bench:
            one = await bench.add_worker("one")
            two = WorkerAddress("two", LOCAL_NODE, str(bench.worker_path("two")))
            versions = {("m", 1): "p1", ("m", 2): "p2"}
            live = LiveRoute(1, candidate=2, candidate_share=9_000, sticky_by=sticky_by)
            async with EdgeWorker("two").serving(bench.worker_path("two")):
                table = snapshot(1, {"p1": [one], "p2": [two]}, versions, {"m": live})
                await bench.edge.apply(table)
                assert {await asked(bench, user) for user in range(50)} == {"1", "2"}
            answered: set[str] = set()
            async with asyncio.timeout(PATIENCE_S):
                while answered != {"1"}:
                    answered = {await asked(bench, user) for user in range(50)}

    asyncio.run(scenario())


async def asked(bench: Bench, user: int) -> str:
    """Return which version answered a user; empty: it failed."""
    reply = await bench.ask("POST", "/v2/models/m/infer", b"{}", x_user=str(user))
    return str(json.loads(reply.body)["model_version"]) if reply.status == 200 else ""


def test_a_key_decides_who_gets_the_candidate() -> None:
    """Equal keys get the same version on both transports, at a share that grows only more of them.

    A call without the key, or with an empty one, is decided by chance; a header that the rollout
    does not name decides nothing.
    """

    async def scenario() -> None:
        async with fresh_edge(sticky_headers=("x-user",)) as bench:
            one, two = await bench.add_worker("one"), await bench.add_worker("two")
            versions = {("m", 1): "p1", ("m", 2): "p2"}
            pools = {"p1": [one], "p2": [two]}
            chosen: list[set[str]] = []
            for number, share in enumerate((1_000, 5_000), start=1):
                live = LiveRoute(1, candidate=2, candidate_share=share, sticky_by="x-user")
                await bench.edge.apply(snapshot(number, pools, versions, {"m": live}))
                chosen.append(set())
                for user in map(str, range(200)):
                    asked = [
                        await bench.version_of("/v2/models/m/infer", x_user=user) for _ in range(3)
                    ]
                    reply = await asyncio.to_thread(grpc_version, bench, {"x-user": user})
                    assert {*asked, reply} in ({"1"}, {"2"})
                    chosen[-1] |= {user} if asked[0] == "2" else set()
            few, half = chosen
            assert few < half
            assert 5 < len(few) < 45  # 20 are expected
            assert 60 < len(half) < 140
            for no_key in ({}, {"x_user": ""}, {"x_user": "  "}):
                without = [
                    await bench.version_of("/v2/models/m/infer", **no_key) for _ in range(100)
                ]
                assert set(without) == {"1", "2"}

    asyncio.run(scenario())


def grpc_version(bench: Bench, headers: dict[str, str]) -> str:
    """Return the version that answers a gRPC call with these headers. Blocks."""
    client = triton_grpc.InferenceServerClient(str(bench.settings.grpc))
    try:
        tensor = triton_grpc.InferInput("x", [1, 2], "FP32")
        tensor.set_data_from_numpy(np.zeros((1, 2), np.float32))
        return str(client.infer("m", [tensor], headers=headers).get_response().model_version)
    finally:
        client.close()


def test_more_pools_than_slots_is_an_error_that_names_the_setting() -> None:
    """The routes in force stay as they were."""

    async def scenario() -> None:
        async with fresh_edge(pool_slots=4) as bench:
            worker = await bench.add_worker("w")
            await bench.edge.apply(snapshot(1, {"p0": [worker]}, {("m", 1): "p0"}, {"m": 1}))
            many = {f"p{number}": [worker] for number in range(5)}
            with pytest.raises(NotReadyError, match="BASCULE_POOL_SLOTS"):
                await bench.edge.apply(snapshot(2, many, {("m", 1): "p0"}, {"m": 1}))
            assert await bench.version_of("/v2/models/m/infer") == "1"
            assert bench.edge.status().revision == 1

    asyncio.run(scenario())


def test_slots_of_pools_that_left_are_used_again() -> None:
    """Four slots serve any number of pools, one after the other."""

    async def scenario() -> None:
        async with fresh_edge(pool_slots=4) as bench:
            worker = await bench.add_worker("w")
            for number in range(12):
                pool = f"p{number}"
                table = snapshot(number + 1, {pool: [worker]}, {("m", 1): pool}, {"m": 1})
                await bench.edge.apply(table)
                assert await bench.version_of("/v2/models/m/infer") == "1"

    asyncio.run(scenario())


def test_calls_in_flight_finish_on_the_worker_that_left() -> None:
    """A slow call outlives the removal of its worker from the routes."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            slow = await bench.add_worker("slow")
            bench.workers["slow"].gate.clear()
            fast = await bench.add_worker("fast")
            await bench.edge.apply(snapshot(1, {"p0": [slow]}, {("m", 1): "p0"}, {"m": 1}))
            async with asyncio.TaskGroup() as group:
                call = group.create_task(bench.infer("/v2/models/m/infer"))
                await bench.workers["slow"].until_begun(1)
                await bench.edge.apply(snapshot(2, {"p1": [fast]}, {("m", 1): "p1"}, {"m": 1}))
                at_once = await bench.infer("/v2/models/m/infer")
                bench.workers["slow"].gate.set()
            assert (call.result()["model_name"], at_once["model_name"]) == ("slow", "fast")

    asyncio.run(scenario())
