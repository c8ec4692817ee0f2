"""Events of a real rollout reach a real receiver, whoever was away or died meanwhile."""

import socket
from pathlib import Path

import pytest

from tests.fakes.pushed import push_versions
from tests.fakes.standalone_server import free_ports, serving
from tests.fakes.webhook_receiver import SECRET, receiving, verified

WAITING = 'bascule_events{receiver="ops",state="PENDING"} 5'
TYPES = ["pending", "preflight", "loading", "verifying", "switched", "complete"]


def prepared(home: Path, url: str) -> None:
    """Push two versions of `m`, and name a receiver."""
    push_versions(home)
    (home / "secret").write_text(SECRET)
    (home / "events.yaml").write_text(
        "source: /bascule/test\n"
        f"receivers: [{{name: ops, url: '{url}', secret_file: secret, types: ['rollout.*']}}]\n"
    )


def test_a_receiver_that_was_away_gets_a_rollouts_events_signed_and_in_order(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """It says nothing, which delays no rollout, and the instance is killed: each step comes."""
    home = tmp_path_factory.mktemp("h")
    port = free_ports(1)[0]
    prepared(home, f"http://127.0.0.1:{port}/hook")
    with socket.create_server(("127.0.0.1", port)), serving(home) as server:
        body = {"version": 2, "bake_s": 600, "reason": "release of May"}
        server.admin("POST", "/v1/models/m/rollout", body)
        server.until(lambda: server.rollout_state() == "SWITCHED", "it is switched")
        server.until(lambda: server.answer("m")[1] == "2", "the flip is obeyed")
        server.until(
            lambda: 'bascule_events{receiver="ops",state="PENDING"} 5' in server.metrics(),
            "it waits",
        )
        server.process.kill()
        server.process.wait()
    with receiving(port) as receiver, serving(home) as server:
        server.admin("POST", "/v1/models/m/rollout/skip-step", {"reason": "enough"})
        server.until(lambda: "rollout.complete" in receiver.types, "the last event came")
    events = [one.event for one in receiver.came]

    assert list(dict.fromkeys(receiver.types)) == [f"rollout.{one}" for one in TYPES]
    assert len({one["id"] for one in events}) == len(TYPES)
    assert all(verified(one) for one in receiver.came)
    assert {(one["source"], one["subject"]) for one in events} == {("/bascule/test", "m/2")}
    assert [one["data"]["begun_reason"] for one in events] == ["release of May"] * len(events)
    assert {one["severity"] for one in events} == {"info"}
    assert events[-1]["data"]["reason"] == "skipped: enough"
    assert events[-1]["data"]["digest"]
