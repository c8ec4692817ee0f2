"""A real worker's versions and its end: apply, reload and unload under load, deadlines, signals."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from serving.ids import VersionKey
from serving.registry.bundles.packing import PackOrder, pack_bundle
from serving.registry.version import QueuePolicy
from serving.worker.recorder import suspects
from tests.fakes import models
from tests.fakes.held_worker import Hold, held_call, holding_worker
from tests.fakes.waiting import until
from tests.fakes.worker_process import (
    PATIENCE_S,
    RawClient,
    Reply,
    WorkerProcess,
    apply_request,
    grpc_infer,
    infer,
    request,
    running_worker,
    version,
    wait_until,
)

TINY = "/v2/models/tiny/infer"
X = np.arange(16, dtype="<f4")[None]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerProcess]:
    """A worker that hosts nothing yet."""
    with running_worker(tmp_path) as started:
        yield started


@contextmanager
def steady_load(worker: WorkerProcess, target: str) -> Iterator[list[Reply]]:
    """Ask all the time on one connection; yield what came, once something has."""
    replies: list[Reply] = []
    stop = threading.Event()

    def ask() -> None:
        with worker.client() as client:
            while not stop.is_set():
                replies.append(client.ask(infer(target, {"x": X})))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        until(lambda: replies, "the first call is answered")
        yield replies
    finally:
        stop.set()
        thread.join(PATIENCE_S)


def test_it_is_ready_when_the_first_apply_is_done(worker: WorkerProcess) -> None:
    """Not ready before, ready after, also with nothing to host."""
    with worker.local() as client:
        before = client.ask(request("/v2/health/ready", method="GET"))
        worker.apply()
        after = client.ask(request("/v2/health/ready", method="GET"))
    assert (before.status, before.json()["ready"]) == (400, False)
    assert after.status == 200


def test_versions_come_and_go_without_disturbing_others(
    worker: WorkerProcess, tmp_path: Path
) -> None:
    """Loading and unloading beside a version under load costs it no call."""
    tiny = version(tmp_path, "tiny", models.tiny())
    others = [version(tmp_path, f"other-{place}", models.tiny()) for place in range(20)]
    worker.apply(tiny)
    with steady_load(worker, TINY) as replies:
        loaded = worker.apply(tiny, *others)
        unloaded = worker.apply(tiny)
    assert [line["state"] for line in loaded] == ["LOADING", "READY"] * 20
    assert {line["state"] for line in unloaded} == {"UNLOADING", "UNAVAILABLE"}
    assert {reply.status for reply in replies} == {200}


def test_a_reload_replaces_the_version_at_once(worker: WorkerProcess, tmp_path: Path) -> None:
    """Under load: every call is answered, by the old or the new one, and the new one stays."""
    old = version(tmp_path, "tiny", models.tiny())
    new = version(tmp_path, "tiny", models.optional_bias())
    worker.apply(old)
    with steady_load(worker, TINY) as replies:
        lines = worker.apply(new)
    assert [line["state"] for line in lines] == ["READY"]
    assert {reply.status for reply in replies} == {200}
    assert worker.state()["versions"][0]["digest"] == new.digest


def test_a_failed_reload_keeps_the_old_version(worker: WorkerProcess, tmp_path: Path) -> None:
    """The line says READY, why the new one was refused, and the digest that serves."""
    old = version(tmp_path, "tiny", models.tiny())
    worker.apply(old)
    refused = version(tmp_path, "tiny", models.garbage())
    (line,) = worker.apply(refused)
    assert (line["state"], line["digest"]) == ("READY", old.digest)
    assert line["refused_digest"] == refused.digest
    assert line["reason"]
    with worker.client() as client:
        assert client.ask(infer(TINY, {"x": X})).status == 200


def test_a_version_that_cannot_load_spares_the_others(
    worker: WorkerProcess, tmp_path: Path
) -> None:
    """It is UNAVAILABLE with a reason; calls to it are told to come back."""
    lines = worker.apply(
        version(tmp_path, "broken", models.truncated()), version(tmp_path, "tiny", models.tiny())
    )
    assert [(line["model"], line["state"]) for line in lines][-1] == ("tiny", "READY")
    assert lines[1]["state"] == "UNAVAILABLE"
    assert lines[1]["reason"]
    with worker.client() as client:
        reply = client.ask(infer("/v2/models/broken/versions/1/infer", {"x": X}))
        ready = client.ask(request("/v2/models/broken/versions/1/ready", method="GET"))
    assert reply.status == 503
    assert "not at ready state" in reply.json()["error"]
    assert ready.status == 400


Held = tuple[WorkerProcess, Hold]


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    """A worker whose model runs until it is told to end."""
    with holding_worker(tmp_path) as started:
        yield started


def test_unloading_finishes_what_was_accepted(held: Held) -> None:
    """Calls that run and calls that wait get their results; new ones do not enter."""
    worker, hold = held
    hold.host()
    with worker.client() as first, worker.client() as second, worker.local() as control:
        hold.occupy(first)
        second.send(held_call())
        wait_until(lambda: worker.state()["queued_rows"] == 1, "second call waits")
        control.send(apply_request())
        while b"UNLOADING" not in control.line():
            pass
        hold.release()
        assert [first.read().status, second.read().status] == [200, 200]
        assert second.ask(held_call()).status == 404


def test_a_queue_timeout_is_answered_while_the_runtime_is_busy(held: Held) -> None:
    """The late call is refused before the running one ends, and never runs."""
    worker, hold = held
    hold.host()
    with worker.client() as first, worker.client() as second:
        hold.occupy(first)
        reply = second.ask(held_call(timeout_us=20_000))
        assert hold.is_busy()
        assert (reply.status, reply.json()["error"]) == (503, "Request timeout expired")
        assert reply.headers["retry-after"] == "1"
        hold.release()
        assert first.read().status == 200
    assert worker.statistics("slow")["inference_stats"]["fail"]["count"] == 1


def test_a_policys_timeout_holds_for_every_call(held: Held) -> None:
    """A caller that sets no limit gets the version's."""
    worker, hold = held
    hold.host(queue=QueuePolicy(default_timeout_s=0.02))
    with worker.client() as first, worker.client() as second:
        hold.occupy(first)
        assert second.ask(held_call()).status == 503


def test_a_grpc_deadline_gives_deadline_exceeded(worker: WorkerProcess, tmp_path: Path) -> None:
    """A deadline that has passed is answered as such, and nothing runs."""
    worker.apply(version(tmp_path, "tiny", models.tiny()))
    with worker.client() as client:
        reply = client.ask(grpc_infer("tiny", "x", X, headers=("grpc-timeout: 0n",)))
    assert reply.trailers["grpc-status"] == "4"
    assert worker.statistics("tiny")["execution_count"] == 0


def test_a_client_that_leaves_cancels_its_waiting_call(held: Held) -> None:
    """It leaves the queue at once and never runs."""
    worker, hold = held
    hold.host()
    with worker.client() as first:
        hold.occupy(first)
        with worker.client() as second:
            second.send(held_call())
            wait_until(lambda: worker.state()["queued_rows"] == 1, "second call waits")
        wait_until(lambda: worker.state()["queued_rows"] == 0, "second call forgotten")
        hold.release()
        assert first.read().status == 200
    counted = worker.statistics("slow")
    assert (counted["execution_count"], counted["inference_stats"]["fail"]["count"]) == (1, 1)


def test_a_full_queue_says_so(held: Held) -> None:
    """503 with the bound and what to do; what had entered is answered."""
    worker, hold = held
    hold.host(queue=QueuePolicy(max_queue_rows=1))
    with worker.client() as first, worker.client() as second, worker.client() as third:
        hold.occupy(first)
        second.send(held_call())
        wait_until(lambda: worker.state()["queued_rows"] == 1, "second call waits")
        reply = third.ask(held_call())
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert "Exceeds maximum queue size: 1 of 1 rows" in reply.json()["error"]
        hold.release()
        assert [first.read().status, second.read().status] == [200, 200]


def test_a_slow_version_starves_no_other(held: Held, tmp_path: Path) -> None:
    """While one version computes, another answers."""
    worker, hold = held
    hold.host(version(tmp_path, "tiny", models.tiny()))
    with worker.client() as first, worker.client() as second:
        hold.occupy(first)
        assert second.ask(infer(TINY, {"x": X})).status == 200
        assert hold.is_busy()
        hold.release()
        assert first.read().status == 200


def test_sigterm_finishes_what_was_accepted(held: Held) -> None:
    """Not ready, new calls refused, accepted ones answered, exit status 0."""
    worker, hold = held
    hold.host()
    with worker.client() as first, worker.client() as second, worker.client() as third:
        second.ask(request("/v2/health/live", method="GET"))
        third.ask(request("/v2/health/live", method="GET"))
        hold.occupy(first)
        worker.process.send_signal(signal.SIGTERM)
        live = request("/v2/health/live", method="GET")
        wait_until(lambda: third.ask(live).status == 503, "worker drains")
        refused = second.ask(held_call())
        assert refused.status == 503
        assert "stopped accepting new inference requests" in refused.json()["error"]
        hold.release()
        assert first.read().status == 200
        assert worker.process.wait(PATIENCE_S) == 0


def test_drain_returns_when_nothing_is_left(held: Held) -> None:
    """POST /worker/drain waits for the running call, refuses others, and leaves the process."""
    worker, hold = held
    hold.host()
    with worker.client() as first, worker.local() as control:
        hold.occupy(first)
        control.send(request("/worker/drain"))
        wait_until(lambda: worker.state()["draining"], "worker drains")
        assert hold.is_busy()
        hold.release()
        assert control.read().status == 200
        assert not hold.is_busy()
        assert first.read().status == 200
        assert worker.state()["draining"] is True
        assert control.ask(apply_request()).status == 503
    assert worker.stop() == 0


def test_a_limit_ends_a_drain_that_takes_too_long(tmp_path: Path) -> None:
    """The process ends with what still runs."""
    with holding_worker(tmp_path, "--drain-s", "0.05") as (worker, hold):
        hold.host()
        with worker.client() as client:
            hold.occupy(client)
            assert worker.stop() == 0


def test_the_flight_recorder_names_what_ran(held: Held, tmp_path: Path) -> None:
    """After kill -9 the file still says which version was at work."""
    worker, hold = held
    hold.host(version(tmp_path, "tiny", models.tiny()))
    with worker.client() as client:
        client.ask(infer(TINY, {"x": X}))
        hold.occupy(client)
        worker.process.kill()
        worker.process.wait()
    keys = [VersionKey("tiny", 1), VersionKey("slow", 1)]
    assert suspects(tmp_path / "recorder", keys) == (VersionKey("slow", 1),)


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    """A parent that is killed takes its worker along, without a word."""
    socket = tmp_path / "w.sock"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(socket)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    worker_pid = int(parent.stdout.readline())
    wait_until(socket.exists, "worker listens")
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not is_alive(worker_pid), "worker has gone")


PARENT = """
import os, subprocess, sys
child = subprocess.Popen(
    [sys.executable, "-m", "serving.worker", "--socket", sys.argv[1], "--parent", str(os.getpid())],
    stdin=subprocess.PIPE, stderr=subprocess.DEVNULL,
)
print(child.pid, flush=True)
child.wait()
"""


def is_alive(pid: int) -> bool:
    """Whether a process exists that is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_end_of_its_standard_input_ends_it(tmp_path: Path) -> None:
    """The pipe from the parent breaks: it stops in order."""
    with running_worker(tmp_path, "--parent", str(os.getpid()), stdin=subprocess.PIPE) as worker:
        assert worker.process.stdin is not None
        worker.process.stdin.close()
        assert worker.process.wait(PATIENCE_S) == 0


def test_model_files_on_the_command_line_are_served(tmp_path: Path) -> None:
    """Alone, without a supervisor: MODEL/VERSION/model.onnx keeps its names."""
    place = tmp_path / "tiny" / "7"
    place.mkdir(parents=True)
    (place / "model.onnx").write_bytes(models.tiny())
    with running_worker(tmp_path, str(place / "model.onnx")) as worker, worker.client() as client:
        ready = request("/v2/models/tiny/versions/7/ready", method="GET")
        wait_until(lambda: client.ask(ready).status == 200, "model is ready")
        assert client.ask(infer(TINY, {"x": X})).json()["model_version"] == "7"


def test_a_bundle_on_the_command_line_is_served(tmp_path: Path) -> None:
    """Verified, and under the name and version of its manifest."""
    file = tmp_path / "model.onnx"
    file.write_bytes(models.tiny())
    order = PackOrder(
        model_file=file, name="packed", version=5, created_utc=datetime(2030, 1, 1, tzinfo=UTC)
    )
    bundle = pack_bundle(order, tmp_path / "bundle")
    with running_worker(tmp_path, str(bundle.folder)) as worker, worker.client() as client:
        ready = request("/v2/models/packed/versions/5/ready", method="GET")
        wait_until(lambda: client.ask(ready).status == 200, "model is ready")
        reply = client.ask(infer("/v2/models/packed/infer", {"x": X}))
    assert reply.json()["model_version"] == "5"


def test_a_worker_imports_nothing_heavy(worker: WorkerProcess) -> None:
    """No Ray, gRPC, protobuf, pydantic, SQL, aiohttp or torch in the process."""
    heavy = [
        "ray", "grpc", "google.protobuf", "pydantic", "sqlalchemy", "aiohttp", "torch",
        "onnxruntime",
    ]  # fmt: skip
    code = (
        "import json, sys, serving.worker.__main__; "
        f"print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(found.stdout) == []
    assert worker.state()["rss_bytes"] > 0


def test_calls_are_taken_when_the_first_apply_is_done(tmp_path: Path) -> None:
    """With a control channel of its own, a worker that has loaded nothing yet is not there."""
    calls, control = tmp_path / "w.sock", tmp_path / "w.ctl"
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.worker", "--socket", calls, "--control", control],
        stderr=subprocess.DEVNULL,
    )
    try:
        worker = WorkerProcess(process, control, 0)
        # It is bound before it listens: for a moment it is there and refuses.
        absent = (FileNotFoundError, ConnectionRefusedError)
        until(worker.state, "the control channel answers", excused=absent)
        assert worker.state()["ready"] is False
        assert not calls.exists()
        worker.apply(version(tmp_path, "tiny", models.tiny(), max_batch_rows=8))
        with RawClient(str(calls)) as client:
            assert client.ask(infer(TINY, {"x": X})).status == 200
    finally:
        process.kill()
        process.wait()
