"""A candidate that ends its workers, on a real instance."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.planted_models import COLUMNS, CRASH_OVER, write_bundles
from serving.registry.rollouts.record import RolloutState
from serving.registry.store import Registry
from tests.fakes.standalone_server import Server, serving

MODEL = "crashing"
PATH = f"/v2/models/{MODEL}/infer"
CALLERS = 4
LIMIT_S = 90.0
MARKED_EACH = 10
"""Each tenth row is one that the candidate crashes on; the live version answers all."""


@contextmanager
def calling(server: Server) -> Iterator[list[str]]:
    """Ask all the time, from several threads; gives what was no right answer."""
    failures: list[str] = []
    stop = threading.Event()
    arguments = (server.ports[0], failures, stop)
    threads = [threading.Thread(target=_call, args=arguments) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _call(port: int, failures: list[str], stop: threading.Event) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    number = 0
    while not stop.wait(0.002):
        number += 1
        row = [CRASH_OVER + 1 if number % MARKED_EACH == 0 else 1.0, *([1.0] * (COLUMNS - 1))]
        tensor = {"name": "x", "shape": [1, COLUMNS], "datatype": "FP32", "data": row}
        try:
            connection.request(
                "POST", f"/v2/models/{MODEL}/infer", json.dumps({"inputs": [tensor]})
            )
            reply = connection.getresponse()
            text = reply.read()
        except (OSError, http.client.HTTPException) as error:
            failures.append(repr(error))
            connection.close()
            continue
        if reply.status != http.client.OK:
            failures.append(f"{reply.status}: {text[:200]!r}")
        elif json.loads(text)["outputs"][0]["data"][1] != 2.0:
            failures.append(f"wrong: {text[:200]!r}")
    connection.close()


@pytest.mark.long
def test_a_crashing_candidate_is_taken_back(tmp_path_factory: pytest.TempPathFactory) -> None:
    """By its restarts; calls fail only by its end, and what is answered is right."""
    home = tmp_path_factory.mktemp("h")
    pushed(home, tmp_path_factory.mktemp("bundles"))
    with serving(home) as server, calling(server) as failures:
        step = {"share_percent": 50, "hold_s": 600}
        plan = {"version": 2, "strategy": "canary", "steps": [step], "reason": "test"}
        guards = {"mismatch_share": -1}
        path = f"/v1/models/{MODEL}/rollout"
        server.admin("POST", path, {**plan, "guardrails": guards, "force": True})

        def newest() -> dict[str, str]:
            return dict(server.admin("GET", "/v1/rollouts")[0])  # type: ignore[index]  # a list

        server.until(lambda: newest()["state"] == RolloutState.ROLLED_BACK, "it was taken back")
        assert newest()["note"].startswith("restarts: the candidate's workers ended by themselves")
        server.until(lambda: server.admin("GET", "/v1/status")["ready"], "it is let go")
    assert [text for text in failures if text.startswith(("wrong", "4"))] == []


def pushed(home: Path, folder: Path) -> None:
    """Push version 1, which is live, and 2, which crashes."""
    with Registry(home) as registry:
        for bundle in write_bundles(folder, MODEL):
            registry.push(bundle, "ann")
