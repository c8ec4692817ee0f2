"""A real instance's alarms: real traffic rings them, and the self-test proves that all would."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton_http
import typer
from typer.testing import CliRunner

from serving.cli.monitor import register
from serving.monitor.drift.calibration import FalseAlarms
from serving.monitor.drift.columns import Role
from serving.monitor.drift.learning import Tensor, learn_tensors
from serving.monitor.drift.storage import to_bytes
from tests.fakes.models import tiny
from tests.fakes.standalone_server import Server, free_ports, put_model, serving
from tests.fakes.waiting import until
from tests.fakes.webhook_receiver import SECRET, Receiver, receiving, verified

CONTRACT = """contract: 1
reference: {collected_until: 2026-01-01}
max_age: {warn: 20000d}
inputs: {x: {max: 100}}
outputs: {y: {finite: true}}
window_policy: {window: 10m, min_rows: 50, max_violation_rate: 0.1}
"""


@dataclass(frozen=True)
class Place:
    """What the tests share."""

    server: Server
    receiver: Receiver


@pytest.fixture(scope="module", name="place")
def watched_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A model with a contract and a reference, and a receiver of events."""
    home, repository = tmp_path_factory.mktemp("h"), tmp_path_factory.mktemp("r")
    put_model(repository, "tiny", content=tiny())
    (repository / "tiny" / "config.pbtxt").write_text("max_batch_size: 128\n")
    (repository / "tiny" / "contract.yaml").write_text(CONTRACT)
    rows = np.random.default_rng(3).standard_normal((1_500, 16)).astype(np.float32)
    profile = learn_tensors(
        [Tensor(name="x", role=Role.INPUT, values=rows)],
        is_ordered=True,
        allowed=FalseAlarms(replicates=40),
    )
    (repository / "tiny" / "reference.drift").write_bytes(to_bytes(profile))
    port = free_ports(1)[0]
    (home / "secret").write_text(SECRET)
    (home / "events.yaml").write_text(
        "source: /bascule/test\nreceivers: "
        f"[{{name: ops, url: 'http://127.0.0.1:{port}/hook', secret_file: secret}}]\n"
    )
    with (
        receiving(port) as receiver,
        serving(home, "--model-repository", str(repository)) as server,
    ):
        yield Place(server, receiver)


def commands() -> typer.Typer:
    """The commands about monitoring."""
    app = typer.Typer()
    register(app)
    return app


def self_tested(place: Place, monkeypatch: pytest.MonkeyPatch) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit status and what it printed."""
    monkeypatch.setenv("BASCULE_HOME", str(place.server.home))
    done = CliRunner().invoke(commands(), ["monitor", "selftest", "--json"])
    assert done.stdout, done.exception
    return done.exit_code, json.loads(done.stdout)


def counters(server: Server) -> list[str]:
    """What real traffic has counted of contracts and drift."""
    names = ("bascule_contract_", "bascule_drift_", "bascule_monitor_", "nv_inference_count")
    return [line for line in server.metrics().splitlines() if line.startswith(names)]


def is_watched(server: Server) -> bool:
    """Whether the one worker looks at its rows."""
    (found,) = server.admin("GET", "/v1/models/tiny/drift")
    return bool(found["worker_count"] == 1)  # type: ignore[index]  # JSON


def test_every_alarm_rings_up_to_the_receiver_and_no_counter_moves(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns, rules, rates, ages, promises and silence; what is sent says that it was made up."""
    until(lambda: is_watched(place.server), "its worker watches", excused=(AssertionError,))
    before = counters(place.server)
    status, found = self_tested(place, monkeypatch)
    place.server.until(lambda: counters(place.server) == before, "no counter has moved")

    (version,) = found["versions"]
    outcomes = {one["alarm"]: one["outcome"] for one in version["trials"]}
    told = [one.event for one in place.receiver.came if "selftest" in str(one.event["type"])]
    assert (status, set(outcomes.values())) == (0, {"RANG", "QUIET"}), version["trials"]
    assert {"x.max", "y.finite", "max_violation_rate", "age", "latency", "x[15]"} <= set(outcomes)
    kinds = {one["data"]["kind"] for one in told}
    assert kinds == {
        *("drift.alarm", "contract.violation", "slo.burn", "data.outdated", "monitor.silent")
    }
    assert all(one["data"]["synthetic"] for one in told)
    assert all(verified(one) for one in place.receiver.came)


def test_a_receiver_that_takes_nothing_fails_the_self_test(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alarms that nobody gets are broken alarms; exit status 1 says so."""
    place.receiver.statuses.extend([500] * 5)
    status, found = self_tested(place, monkeypatch)
    assert status == 1
    assert {one["outcome"] for one in found["receivers"]} == {"SILENT"}


def test_a_rate_over_the_contracts_limit_is_told_to_receivers_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real rows break a rule that only counts: the alarm of the window rings, and is shown."""
    place.receiver.came.clear()
    bad = np.full((100, 16), 1000, np.float32)
    with triton_http.InferenceServerClient(place.server.http) as client:
        tensor = triton_http.InferInput("x", [100, 16], "FP32")
        tensor.set_data_from_numpy(bad)
        client.infer("tiny", [tensor])
    place.server.until(
        lambda: "contract.violation" in place.receiver.types, "the receiver was told"
    )
    event = next(one.event for one in place.receiver.came if "contract" in str(one.event["type"]))
    monkeypatch.setenv("BASCULE_HOME", str(place.server.home))
    shown = CliRunner().invoke(commands(), ["monitor", "alarms"])

    assert event["subject"] == "tiny/1"
    data: Any = event["data"]
    assert (data["alarm"], data["severity"], data["value"]) == ("max_violation_rate", "critical", 1)
    assert "CRITICAL tiny:1 contract.violation" in shown.stdout
