"""A real instance takes labels of what it answered; commands, metrics and an event say the rest."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tritonclient.http as triton_http

from serving.cli.main import main
from serving.clock import utc_s
from serving.predictions.labels.book import LabelBook, VersionStatus
from serving.predictions.labels.joining import Wanted
from serving.predictions.reading import Filter
from tests.fakes.hostile import HttpReply, ask, post
from tests.fakes.logged_worker import PARAMETER
from tests.fakes.models import BIAS, WEIGHT, tiny
from tests.fakes.standalone_server import Server, put_model, serving

ROWS = 50
WANTED = Wanted(predictions=Filter(model="tiny"))
CLASSES = 4


class Asked(NamedTuple):
    """One answered request."""

    id: str
    classes: list[int]


@pytest.fixture(scope="module", name="server")
def labelled_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An instance that logs what its model of four classes answers."""
    repository = tmp_path_factory.mktemp("models")
    put_model(repository, "tiny", content=tiny())
    home = tmp_path_factory.mktemp("h")
    flags = ("--model-repository", str(repository), "--prediction-log", str(home / "log"))
    with serving(home, *flags) as server:
        yield server


def asked(server: Server, count: int) -> list[Asked]:
    """Ask with batches of rows; the class is the highest of the four outputs."""
    random = np.random.default_rng(count)
    found = []
    with triton_http.InferenceServerClient(server.http) as client:
        for _ in range(count):
            values = random.integers(-4, 5, (ROWS, 16)).astype(np.float32)
            tensor = triton_http.InferInput("x", list(values.shape), "FP32")
            tensor.set_data_from_numpy(values)
            reply: Any = client.infer("tiny", [tensor])
            classes = np.argmax(reply.as_numpy("y"), axis=1).tolist()
            assert np.argmax(values @ WEIGHT + BIAS, axis=1).tolist() == classes
            found.append(Asked(reply.get_response()["parameters"][PARAMETER], classes))
    return found


def labels_of(one: Asked, *, wrong: int, rows: range = range(ROWS)) -> list[dict[str, object]]:
    """Labels of a request's rows, of which every so many-th is another class than predicted."""
    return [
        {"prediction_id": one.id, "row": row, "source": "desk"}
        | {"label": (one.classes[row] + (row % wrong == 0)) % CLASSES}
        for row in rows
    ]


def posted(server: Server, labels: object, path: str = "tiny") -> HttpReply:
    """Post labels."""
    body = json.dumps(labels).encode()
    return ask(server.http, post(f"/v2/models/{path}/labels", body))


def said(server: Server, capsys: pytest.CaptureFixture[str], *words: str) -> Any:  # noqa: ANN401  JSON
    """What a command prints as JSON about the instance's log."""
    place = [] if words[0] == "events" else ["--log", str(server.home / "log")]
    with pytest.raises(SystemExit) as ended:
        main([*words, *place, "--json"])
    assert not ended.value.code
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("path", "labels", "status", "told"),
    [
        ("tiny", [{"prediction_id": "x", "label": 1}], 400, "entry 0, prediction_id: 'x' is no id"),
        ("tiny", {"label": 1}, 400, "a JSON list of labels is expected"),
        ("nobody", [], 404, "unknown model: 'nobody'"),
        ("tiny", [{"prediction_id": ""}] * 10_001, 413, "10001 labels in one request, 10000 at"),
    ],
    ids=["id", "shape", "model", "count"],
)
def test_what_is_no_label_is_refused(
    server: Server, path: str, labels: object, status: int, told: str
) -> None:
    """The refusal names the entry and the field, or the limit."""
    reply = posted(server, labels, path)

    assert reply.status == status
    assert told in reply.error


def test_without_a_log_there_is_nothing_to_label(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An instance that logs no predictions says so."""
    repository = tmp_path_factory.mktemp("models")
    put_model(repository, "tiny", content=tiny())
    with serving(tmp_path_factory.mktemp("h"), "--model-repository", str(repository)) as server:
        reply = posted(server, [])

    assert reply.status == 501
    assert "set BASCULE_PREDICTION_LOG" in reply.error


def test_labels_come_late_in_parts_and_corrected_and_a_drop_rings(
    server: Server,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: Any,  # noqa: ANN401
) -> None:
    """One table, whatever came when; the version's fall is in command, metrics and an event."""
    monkeypatch.setenv("BASCULE_HOME", str(server.home))
    requests = asked(server, 24)
    first, good, bad = requests[0], requests[1:8], requests[8:]
    partly = partly_labelled(server, first)
    for one in (first, first, *good):  # twice is once
        posted(server, labels_of(one, wrong=20), "tiny/versions/1")
    server.until(lambda: 'bascule_labelled_rows{model="tiny"' in server.metrics(), "it is judged")
    steady = server.admin("GET", "/v1/models/tiny/labels/performance")["versions"][0]  # type: ignore[index]  # JSON
    file = tmp_path / "labels.json"
    file.write_text(json.dumps([label for one in bad for label in labels_of(one, wrong=2)]))
    kept = said_plainly(capsys, "labels", "post", "tiny", str(file), "--url", server.http)
    server.until(lambda: 'bascule_label_drop{model="tiny",version="1",output="y"} 1' in (
        server.metrics()
    ), "the drop rings")  # fmt: skip
    found = said(server, capsys, "labels", "performance", "tiny:1", "--window", "200")["versions"][
        0
    ]
    counted = said(server, capsys, "labels", "status", "tiny")
    events = said(server, capsys, "events", "list", "--model", "tiny")

    assert (partly.labelled_rows, partly.corrected_rows) == (10, 0)
    assert steady["drop"]["state"] == "steady"
    assert steady["figures"]["accuracy"]["value"] == pytest.approx(0.94)
    assert "800 labels of tiny are kept" in kept
    assert found["drop"]["state"] == "dropped"
    assert [window["figures"]["rows"] for window in found["windows"]] == [200] * 6
    assert found["windows"][-1]["figures"]["accuracy"]["value"] == pytest.approx(0.5)
    assert (counted["join_rate"], counted["joined_rows"]) == (1.0, 1200)
    assert counted["versions"][0]["corrected_rows"] == 9
    drops = [one["event"] for one in events if ".label." in one["event"]["type"]]
    assert [one["type"] for one in drops] == ["dev.bascule.label.drop.v1"]
    assert drops[0]["data"]["version"] == 1


def test_a_wrong_label_is_found_decided_and_counts_no_more(
    server: Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: Any,  # noqa: ANN401
) -> None:
    """The list has it with evidence; what is accepted is left out, what is dismissed is not listed.

    An estimate is a number, or the reason why there is none.
    """
    monkeypatch.setenv("BASCULE_HOME", str(server.home))
    requests = asked(server, 26)[24:]
    for one in requests:
        posted(server, labels_of(one, wrong=25), "tiny")
    mine = {one.id for one in requests}

    def listed() -> list[Any]:
        return [one for one in suspects(server, capsys) if one["prediction_id"] in mine]

    server.until(lambda: len(listed()) > 1, "labels have met the predictions, which are logged")
    found = listed()
    first, second = found[:2]
    for word, one in (("accept", first), ("dismiss", second)):
        said_plainly(capsys, "labels", word, "tiny", one["prediction_id"], "--row", str(one["row"]))
    left = suspects(server, capsys)
    problems = said(server, capsys, "labels", "status", "tiny")["versions"][0]["problems"]
    estimate = server.admin("GET", "/v1/models/tiny/labels/estimate")["versions"][0]["estimate"]  # type: ignore[index]  # JSON

    assert {(one["row"] % 25, one["given"] != one["likely"]) for one in found} == {(0, True)}
    assert first not in left
    assert second not in left
    assert problems == {"labels that a review found wrong": 1}
    assert (estimate["unavailable"] == "") == (estimate["accuracy"] is not None)


def suspects(server: Server, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """All labels that look wrong."""
    found = said(server, capsys, "labels", "suspects", "tiny", "--show", "5000")
    listed: list[dict[str, Any]] = found["versions"][0]["suspects"]
    return listed


def partly_labelled(server: Server, one: Asked) -> VersionStatus:
    """Post labels of some of a request's rows, perhaps before it is logged; what is said then."""
    early = posted(server, labels_of(one, wrong=1, rows=range(10)))
    place = LabelBook(str(server.home / "log"))
    server.until(lambda: place.status(WANTED, utc_s()).joined_rows == 10, "it is logged")
    assert json.loads(early.body) == {"labels": 10}
    return place.status(WANTED, utc_s()).versions[0]


def said_plainly(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command prints for people."""
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert not ended.value.code
    return capsys.readouterr().out
