"""HAProxy's life: it dies and comes back, outlives its edge and is adopted, drains and stops."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import aiohttp
import psutil
import pytest

from serving.edge.edge import FOLDER, LOCAL_NODE, MEMORY_FILE, Edge
from serving.edge.haproxy_admin import EdgeError
from serving.edge.haproxy_process import CONFIG
from serving.edge.routes import WorkerAddress
from serving.settings import Settings
from serving.supervise import is_running
from tests.fakes.control import FakeControl
from tests.fakes.edge_worker import EdgeWorker
from tests.fakes.waiting import PATIENCE_S, until, while_others_work
from tests.integration.edge.bench import (
    Bench,
    edge_settings,
    fresh_edge,
    home_folder,
    outliving_home,
    running_edge,
    snapshot,
)


async def first_answer(bench: Bench) -> int:
    """Call until somebody answers; return the status."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                return (await bench.ask("POST", "/v2/models/m/infer", b"{}")).status


async def refusal(settings: Settings) -> BaseException:
    """Start an edge that must not start; return why."""
    with pytest.raises(BaseExceptionGroup) as caught:
        async with running_edge(settings):
            pass
    return caught.value.exceptions[0]


async def says_not_ready(bench: Bench) -> None:
    """Ask until the edge says that it takes no more calls."""
    async with asyncio.timeout(PATIENCE_S):
        while (await bench.ask("GET", "/v2/health/ready")).status != 503:
            pass


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or waits for nothing but its parent."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return True


def test_a_killed_haproxy_comes_back_with_its_routes() -> None:
    """No call is told "unknown model" by the new one: it knows routes and workers at once."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            worker = await bench.add_worker("w")
            await bench.edge.apply(snapshot(1, {"p": [worker]}, {("m", 1): "p"}, {"m": 1}))
            first = bench.edge.status().haproxy_pid
            os.kill(first, signal.SIGKILL)
            status_code = await first_answer(bench)
            status = bench.edge.status()
            assert status_code == 200
            assert (status.restart_count, status.haproxy_pid != first) == (1, True)

    asyncio.run(scenario())


def test_a_change_after_a_kill_is_applied() -> None:
    """A change that meets a dead HAProxy waits for the next one and is obeyed by it."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            worker = await bench.add_worker("w")
            await bench.edge.apply(snapshot(1, {"p": [worker]}, {("m", 1): "p"}, {"m": 1}))
            killed = bench.edge.status().haproxy_pid
            os.kill(killed, signal.SIGKILL)
            until(lambda: has_ended(killed), "its end")  # the keeper has no turn meanwhile
            table = snapshot(2, {"p": [worker]}, {("m", 2): "p"}, {"m": 2})
            assert await bench.edge.apply(table) == 2
            await while_others_work(lambda: bench.edge.status().haproxy_pid, "another HAProxy")
            assert await bench.version_of("/v2/models/m/infer") == "2"

    asyncio.run(scenario())


def test_an_outliving_haproxy_is_adopted() -> None:
    """The next edge takes over the same process, with the routes and without the controller."""

    async def scenario() -> None:
        async with outliving_home() as settings:
            path = settings.run_dir / "w.sock"
            settings.run_dir.mkdir(parents=True)
            async with EdgeWorker("w").serving(path):
                worker = WorkerAddress("w", LOCAL_NODE, str(path))
                async with running_edge(settings, outlives=True) as first:
                    await first.edge.apply(snapshot(5, {"p": [worker]}, {("m", 1): "p"}, {"m": 1}))
                    pid = first.edge.status().haproxy_pid
                async with running_edge(settings, outlives=True) as second:
                    status = second.edge.status()
                    metadata = await second.ask("GET", "/v2/models/m")
                    await second.edge.apply(snapshot(6, {"p": [worker]}, {("m", 2): "p"}, {"m": 2}))
                    assert (status.haproxy_pid, status.revision) == (pid, 5)
                    assert metadata.status == 200
                    assert await second.version_of("/v2/models/m/infer") == "2"

    asyncio.run(scenario())


def test_calls_go_on_while_no_edge_supervises() -> None:
    """Between two edges, infer calls are answered."""

    async def scenario() -> None:
        async with outliving_home() as settings:
            path = settings.run_dir / "w.sock"
            settings.run_dir.mkdir(parents=True)
            async with EdgeWorker("w").serving(path):
                worker = WorkerAddress("w", LOCAL_NODE, str(path))
                async with running_edge(settings, outlives=True) as bench:
                    await bench.edge.apply(snapshot(1, {"p": [worker]}, {("m", 1): "p"}, {"m": 1}))
                url = f"http://{settings.http}/v2/models/m/infer"
                async with aiohttp.ClientSession() as http, http.post(url, data=b"{}") as reply:
                    assert reply.status == 200

    asyncio.run(scenario())


def test_a_haproxy_with_other_settings_is_not_adopted() -> None:
    """Changed settings end the left process and start a new one."""

    async def scenario() -> None:
        async with outliving_home() as settings:
            async with running_edge(settings, outlives=True) as bench:
                pid = bench.edge.status().haproxy_pid
            other = edge_settings(settings.home, pool_slots=9)
            async with running_edge(other, outlives=True) as bench:
                assert bench.edge.status().haproxy_pid != pid
                assert (await bench.ask("GET", "/v2/health/live")).status == 200

    asyncio.run(scenario())


def test_a_taken_port_is_named() -> None:
    """A port that somebody else has is an error with HAProxy's own words, not a shared port."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            with home_folder() as home:
                taken = edge_settings(home, http=str(bench.settings.http))
                failure = await refusal(taken)
                assert isinstance(failure, EdgeError)
                assert f"[{bench.settings.http}]" in failure.message
                assert (await bench.ask("GET", "/v2/health/live")).status == 200

    asyncio.run(scenario())


def test_an_edge_that_did_not_start_can_be_stopped() -> None:
    """Stopping it changes nothing: the error of the start is what its owner sees."""

    async def scenario() -> None:
        with home_folder() as home:
            settings = edge_settings(home, haproxy=Path("/bin/false"))
            async with asyncio.TaskGroup() as group:
                edge = Edge(settings, FakeControl(), group.create_task, instance="i")
                with pytest.raises(EdgeError, match="HAProxy does not start"):
                    await edge.start()
                await edge.stop()

    asyncio.run(scenario())


def test_a_haproxy_that_is_too_old_is_refused_with_its_version() -> None:
    """Its own words, of a keyword that it does not know, say nothing of that."""

    async def scenario() -> None:
        with home_folder() as home:
            binary = home / "haproxy"
            binary.write_text(
                '#!/bin/sh\n[ "$1" = -v ] && echo "HAProxy version 2.6.12" && exit 0\n'
                "echo \"[ALERT] unknown keyword 'tune.memory.hot-size' in 'global'\"; exit 1\n"
            )
            binary.chmod(0o700)
            failure = await refusal(edge_settings(home, haproxy=binary))
            assert isinstance(failure, EdgeError)
            assert f"HAProxy 2.8 or newer, and {binary} is 'HAProxy version 2.6.12'" in str(failure)
            assert "'tune.memory.hot-size'" in str(failure)

    asyncio.run(scenario())


def test_a_start_that_is_cancelled_leaves_no_haproxy() -> None:
    """An edge that is stopped while HAProxy starts again ends that one, too."""

    async def scenario() -> None:
        with home_folder() as home:
            binary, started = home / "haproxy", home / "started"
            binary.write_text(f"#!/bin/sh\necho $$ > {started}\nexec sleep 60\n")
            binary.chmod(0o700)
            async with asyncio.TaskGroup() as group:
                start = group.create_task(refusal(edge_settings(home, haproxy=binary)))
                await while_others_work(
                    lambda: started.exists() and started.read_text(), "HAProxy is started"
                )
                start.cancel()
            assert not is_running(int(started.read_text()))

    asyncio.run(scenario())


def test_a_full_disk_keeps_the_routes_that_are() -> None:
    """A snapshot that cannot be kept for the next edge is refused as a whole, and taken later."""

    async def scenario() -> None:
        async with outliving_home() as settings, running_edge(settings, outlives=True) as bench:
            worker = await bench.add_worker("w")
            await bench.edge.apply(snapshot(1, {"p": [worker]}, {("m", 1): "p"}, {"m": 1}))
            obstacle = settings.run_dir / FOLDER / f"{MEMORY_FILE}.new"
            obstacle.mkdir()
            table = snapshot(2, {"p": [worker]}, {("m", 2): "p"}, {"m": 2})
            with pytest.raises(EdgeError, match="the edge cannot write its files"):
                await bench.edge.apply(table)
            assert await bench.version_of("/v2/models/m/infer") == "1"
            assert bench.edge.status().revision == 1
            obstacle.rmdir()
            await bench.edge.apply(table)
            assert await bench.version_of("/v2/models/m/infer") == "2"

    asyncio.run(scenario())


def test_haproxy_is_started_again_when_its_files_can_be_written() -> None:
    """Until then its edge goes on trying, and the front desk stays."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            worker = await bench.add_worker("w")
            await bench.edge.apply(snapshot(1, {"p": [worker]}, {("m", 1): "p"}, {"m": 1}))
            obstacle = bench.settings.run_dir / FOLDER / f"{CONFIG}.new"
            obstacle.mkdir()
            os.kill(bench.edge.status().haproxy_pid, signal.SIGKILL)
            await while_others_work(
                lambda: bench.edge.status().restart_count >= 2, "it was tried twice"
            )
            obstacle.rmdir()
            assert await first_answer(bench) == 200

    asyncio.run(scenario())


def test_one_folder_has_one_edge() -> None:
    """A second edge in the same folder is refused, and the first one goes on."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            second = edge_settings(bench.settings.home)
            assert "BASCULE_HOME" in str(await refusal(second))
            assert (await bench.ask("GET", "/v2/health/live")).status == 200

    asyncio.run(scenario())


def test_a_draining_edge_finishes_calls_and_refuses_new_ones() -> None:
    """In flight: answered. New: 503 with JSON. Readiness: 503."""

    async def scenario() -> None:
        async with fresh_edge() as bench:
            worker = await bench.add_worker("w")
            bench.workers["w"].gate.clear()
            await bench.edge.apply(snapshot(1, {"p": [worker]}, {("m", 1): "p"}, {"m": 1}))
            async with asyncio.TaskGroup() as group:
                running = group.create_task(bench.infer("/v2/models/m/infer"))
                await bench.workers["w"].until_begun(1)
                drained = group.create_task(bench.edge.drain())
                await says_not_ready(bench)
                refused = await bench.ask("POST", "/v2/models/m/infer", b"{}")
                assert not drained.done()
                bench.workers["w"].gate.set()
            assert running.result()["model_version"] == "1"
            assert (refused.status, refused.content_type) == (503, "application/json")

    asyncio.run(scenario())
