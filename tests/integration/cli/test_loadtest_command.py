"""`bascule loadtest` against a server that really serves."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.models.layout import write_model
from benchmarks.models.small import small_models
from serving.cli.load.ledger import Outcome, read_ledger
from serving.cli.main import main
from tests.fakes.standalone_server import Server, serving


@pytest.fixture(name="server", scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a model of two versions and a model with sequences."""
    models = tmp_path_factory.mktemp("m")
    for model in small_models():
        if model.name in {"times", "accumulator"}:
            write_model(models, model)
    with serving(tmp_path_factory.mktemp("b"), "--model-repository", str(models)) as running:
        yield running


def run(server: Server, *arguments: str) -> int:
    """Run a load test and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(("loadtest", *arguments, "--http", server.http, "--grpc", server.grpc))
    return int(ended.value.code or 0)


def test_every_kind_of_client_is_answered(server: Server, tmp_path: Path) -> None:
    """HTTP, gRPC and streams, kept and new connections: all are right, and in the ledger."""
    path = tmp_path / "l.jsonl"
    clients = ("--http-clients", "2", "--grpc-clients", "2", "--new-connections", "0.5")
    ledger = ("--ledger", str(path))

    wanted = {(wire, kind) for wire in ("http", "grpc") for kind in ("kept", "new")}
    wanted.add(("stream", "kept"))
    found: set[tuple[str, str]] = set()
    for duration in ("1s", "5s", "25s"):  # a slow machine needs longer until each kind had its turn
        status = run(server, "times", *clients, "--stream", "1", "--duration", duration, *ledger)
        entries = read_ledger(path)[1].entries
        assert status == 0
        assert {entry.outcome for entry in entries} == {Outcome.RIGHT}
        found = {(entry.transport, entry.connection) for entry in entries}
        if found == wanted:
            break
    assert found == wanted


def test_sequences_are_whole(server: Server, tmp_path: Path) -> None:
    """Each sequence's answers are compared step by step, over both transports."""
    path = tmp_path / "l.jsonl"
    steps = ("--sequence", "2", "--sequence-steps", "5", "--rate", "100")

    status = run(server, "accumulator", *steps, "--duration", "1s", "--ledger", str(path))

    entries = read_ledger(path)[1].entries
    assert status == 0
    assert {entry.transport for entry in entries} == {"http", "grpc"}
    assert len(entries) % 5 == 0


def test_a_wrong_answer_is_told(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With outputs that the model does not give, every answer counts as wrong."""
    (tmp_path / "e.json").write_text(json.dumps({"1": {"y": [[5]]}, "2": {"y": [[5]]}}))
    (tmp_path / "x.json").write_text(json.dumps({"x": [[21]]}))
    files = ("--expect", str(tmp_path / "e.json"), "--json-input", str(tmp_path / "x.json"))

    status = run(server, "times", *files, "--duration", "1s", "--rate", "20", "--json")

    found = json.loads(capsys.readouterr().out)["summary"]
    assert status == 1
    assert found["wrong_count"] == found["sent_count"] > 0
    assert "says otherwise: 'y' begins with [42.0]" in next(iter(found["faults"]))


def test_what_was_measured_is_told_though_the_disk_is_full(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """The figures are printed before the ledger is written."""
    status = run(server, "times", "--duration", "0s", "--ledger", "/dev/full")

    said = capsys.readouterr()
    assert status == 1
    assert "0 failed" in said.out
    assert said.err == "bascule: /dev/full cannot be written: No space left on device\n"


def test_a_ledger_without_a_folder_is_told_before_anything_is_asked(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not when the load is over."""
    assert run(server, "times", "--duration", "1d", "--ledger", "no/such/l.jsonl") == 1

    said = capsys.readouterr()
    assert said.out == ""
    assert "no/such/l.jsonl: there is no folder" in said.err


def test_a_load_without_clients_is_refused(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing that nobody asked is called lost after a day."""
    nobody = ("--http-clients", "0", "--grpc-clients", "0")

    assert run(server, "times", "--duration", "1d", *nobody) == 1

    assert "nobody asks: give --http-clients" in capsys.readouterr().err
