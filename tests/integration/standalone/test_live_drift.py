"""A real instance watches its traffic: the column that moved is named, wherever one looks."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton_http

from serving.cli.main import main
from serving.monitor.drift.calibration import FalseAlarms
from serving.monitor.drift.columns import FloatArray, Role
from serving.monitor.drift.learning import Tensor, learn_tensors
from serving.monitor.drift.storage import to_bytes
from tests.fakes.models import tiny
from tests.fakes.standalone_server import Server, free_ports, put_model, serving
from tests.fakes.waiting import until
from tests.fakes.webhook_receiver import SECRET, Receiver, receiving, verified

CLEAN_ROWS = 600
TWO_WORKERS = "instance_group [{ count: 2 kind: KIND_CPU }]\n"


@dataclass(frozen=True)
class Place:
    """What the tests share."""

    server: Server
    receiver: Receiver
    rng: np.random.Generator


@pytest.fixture(scope="module", name="place")
def watching_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Two workers of a model with a reference, and a receiver of events."""
    rng = np.random.default_rng(11)
    home, repository = tmp_path_factory.mktemp("h"), tmp_path_factory.mktemp("r")
    put_model(repository, "tiny", content=tiny())
    (repository / "tiny" / "config.pbtxt").write_text(TWO_WORKERS)
    put_model(repository, "plain", content=tiny())
    rows = rng.standard_normal((1_500, 16)).astype(np.float32)
    profile = learn_tensors(
        [Tensor(name="x", role=Role.INPUT, values=rows)],
        is_ordered=True,
        allowed=FalseAlarms(probability=0.001, replicates=40),
    )
    (repository / "tiny" / "reference.drift").write_bytes(to_bytes(profile))
    port = free_ports(1)[0]
    (home / "secret").write_text(SECRET)
    (home / "events.yaml").write_text(
        "source: /bascule/test\nreceivers: "
        f"[{{name: ops, url: 'http://127.0.0.1:{port}/hook', secret_file: secret, "
        "types: ['dev.bascule.drift.*']}]\n"
    )
    with (
        receiving(port) as receiver,
        serving(home, "--model-repository", str(repository)) as server,
    ):
        yield Place(server, receiver, rng)


def asked(place: Place, count: int, shift: float = 0.0) -> None:
    """Ask as a real client; column 3 is shifted."""
    with triton_http.InferenceServerClient(place.server.http) as client:
        for _ in range(count):
            row: FloatArray = place.rng.standard_normal((1, 16))
            row[:, 3] += shift
            tensor = triton_http.InferInput("x", [1, 16], "FP32")
            tensor.set_data_from_numpy(row.astype(np.float32))
            client.infer("tiny", [tensor])


def watched(place: Place) -> dict[str, Any]:
    """What the admin API says of the version."""
    (found,) = place.server.admin("GET", "/v1/models/tiny/drift")
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module", name="clean")
def clean_traffic(place: Place) -> dict[str, Any]:
    """What is known after rows as in the reference."""
    server = place.server
    until(
        lambda: watched(place)["worker_count"] == 2, "both workers watch", excused=(AssertionError,)
    )
    before = watched(place)["rows"]
    asked(place, CLEAN_ROWS)
    server.until(lambda: watched(place)["rows"] >= before + CLEAN_ROWS - 63, "rows were counted")
    return watched(place)


@pytest.fixture(scope="module", name="event")
def drifted(place: Place, clean: dict[str, Any]) -> dict[str, Any]:
    """The event that a receiver got after a column had moved."""
    assert clean["state"] == "WATCHING"
    asked(place, CLEAN_ROWS, shift=1.0)
    place.server.until(lambda: place.receiver.came, "the receiver was told")
    return place.receiver.came[0].event


def test_rows_as_in_the_reference_raise_no_alarm(clean: dict[str, Any]) -> None:
    """Two workers' rows are one stream, and every column is known by name."""
    assert (clean["state"], clean["alarms"], clean["skipped_rows"]) == ("WATCHING", [], 0)
    assert len(clean["features"]) == 16


def test_receivers_are_told_which_column_moved(place: Place, event: dict[str, Any]) -> None:
    """A signed event about the version, with what the column was and is."""
    assert (event["type"], event["subject"]) == ("dev.bascule.drift.alarm.v1", "tiny/1")
    assert event["data"]["feature"] == "x[3]"
    assert event["data"]["after"]["p50"] > event["data"]["before"]["p50"] + 0.3
    assert verified(place.receiver.came[0])


@pytest.mark.usefixtures("event")
def test_metrics_have_the_alarm_and_each_columns_score(place: Place) -> None:
    """It is counted once, however often it is noticed; no other column has its effect."""
    told = 'bascule_drift_alarms_total{model="tiny",version="1",severity="critical"} 1'
    pages: list[str] = []
    place.server.until(lambda: pages.append(place.server.metrics()) or told in pages[-1], "counted")
    metrics = pages[-1]
    effects = {
        line.split('feature="')[1].split('"')[0]: float(line.split()[-1])
        for line in metrics.splitlines()
        if line.startswith('bascule_drift_effect{model="tiny",version="1",')
    }
    assert len(effects) == 16
    assert max(effects, key=effects.__getitem__) == "x[3]"
    assert metrics.count('bascule_drift_score{model="tiny"') == 16


@pytest.mark.usefixtures("event")
def test_the_command_shows_it_until_somebody_says_that_it_is_known(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As text and as JSON; who acknowledged it, and why, is in the audit log."""
    monkeypatch.setenv("BASCULE_HOME", str(place.server.home))
    main_of(["drift", "tiny", "--json"])
    (shown,) = json.loads(capsys.readouterr().out)
    main_of(["drift", "tiny"])
    page = capsys.readouterr().out
    main_of(["drift", "ack", "tiny", "--reason", "campaign began", "--json"])
    (acknowledged,) = json.loads(capsys.readouterr().out)
    main_of(["history", "tiny", "--json"])
    history = capsys.readouterr().out

    (alarm,) = shown["alarms"]
    assert (shown["state"], alarm["feature"], alarm["severity"]) == ("ALARM", "x[3]", "critical")
    assert shown["features"][0]["feature"] == "x[3]"
    assert "x[3]" in page
    assert acknowledged["acknowledged"]["reason"] == "campaign began"
    assert "acknowledge_drift" in history


def test_a_model_without_a_reference_is_not_watched(place: Place) -> None:
    """It says so, and how that is changed."""
    with pytest.raises(AssertionError, match="is watched for drift: pack it"):
        place.server.admin("GET", "/v1/models/plain/drift")


def main_of(arguments: list[str]) -> None:
    """Run a command that succeeds."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code
