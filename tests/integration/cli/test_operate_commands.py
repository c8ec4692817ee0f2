"""Commands against an instance: a working admin API that answers on a real socket."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from serving.cli.main import main
from serving.edge.control import VersionRecord, WorkerStatus
from serving.registry.store import Registry
from serving.registry.version import VersionState
from tests.fakes.admin_server import FakeInstance, empty_status, running
from tests.fakes.bundles import make_bundle

READY = VersionRecord(model="m", version=1, state=VersionState.READY, pool="s1", isolation="shared")
FAILED = VersionRecord(
    model="m", version=2, state=VersionState.UNAVAILABLE, reason="the file is damaged"
)
WORKER = WorkerStatus(
    worker="s1-0", pool="s1", node="local", pid=4711, state="ready", rss_bytes=80_000_000
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home that commands of this test work on."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path / "h"))
    return tmp_path / "h"


@pytest.fixture
def instance(home: Path) -> Iterator[FakeInstance]:
    """A running instance with one version ready and one failed."""
    status = replace(
        empty_status(home), versions=(READY, FAILED), live={"m": 1}, ready=False, workers=(WORKER,)
    )
    with running(FakeInstance(status=status), home / "run" / "admin.sock") as answered:
        yield answered


def run(*arguments: str) -> int:
    """Run a command line and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.mark.usefixtures("instance")
def test_status_shows_versions_and_workers(capsys: pytest.CaptureFixture[str]) -> None:
    """States, the live mark, reasons and workers are shown; not all ready is exit status 1."""
    status = run("status")
    out = capsys.readouterr().out

    assert status == 1
    for text in ("READY", "live", "UNAVAILABLE", "the file is damaged", "4711", "80 MB"):
        assert text in out


@pytest.mark.usefixtures("instance")
def test_status_is_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """`--json` prints what the instance says."""
    run("status", "--json")

    assert json.loads(capsys.readouterr().out)["live"] == {"m": 1}


@pytest.mark.usefixtures("instance")
def test_watching_needs_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a pipe the status comes again and again, with `--json` a line each, until Ctrl-C."""
    looks: list[float] = []

    def slept(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) % 2 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr("serving.cli.operate.time.sleep", slept)

    assert run("status", "--watch") == 0
    assert capsys.readouterr().out.count("4711") == 2
    assert run("status", "--watch", "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["live"] for line in lines] == [{"m": 1}, {"m": 1}]


def test_promote_says_what_was_done(
    instance: FakeInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    """A promotion returns when every edge has it, with the routes' revision."""
    status = run("promote", "m", "--to", "2")

    assert (status, instance.status.live) == (0, {"m": 2})
    assert "version 2 is live (route revision 2" in capsys.readouterr().out


def test_a_refusal_is_the_instances_own_sentence(
    instance: FakeInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the controller refuses is said in its words; names are escaped on the way."""
    status = run("promote", "a b?", "--to", "7")

    assert status == 1
    assert "POST /v1/models/a%20b%3F/promote" in instance.calls[-1]
    assert capsys.readouterr().err.startswith("bascule: nothing of 'a%20b%3F' is known")


@pytest.mark.parametrize(("target", "left"), [("m:2", [1]), ("m", [])])
def test_unload_takes_one_or_all(instance: FakeInstance, target: str, left: list[int]) -> None:
    """MODEL:VERSION unloads that version, MODEL all of them."""
    assert run("unload", target) == 0
    assert [item.version for item in instance.status.versions] == left


def test_push_waits_until_the_version_is_ready(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The registry has the version, and a running instance has loaded it, when push returns."""
    bundle = make_bundle(tmp_path / "b")

    def load() -> tuple[VersionRecord, ...]:
        with Registry(home) as registry:
            wanted = [str(spec.key) for spec in registry.picture().wanted]
        return (READY,) if wanted == ["m:1"] else ()

    fake = FakeInstance(status=empty_status(home), on_sync=load)
    with running(fake, home / "run" / "admin.sock"):
        status = run("push", str(bundle.folder))

    assert status == 0
    assert "it is READY in pool s1" in capsys.readouterr().out


def test_push_fails_when_the_version_does(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A version that cannot be loaded is exit status 1, with the reason."""
    bundle = make_bundle(tmp_path / "b", version=2)
    fake = FakeInstance(status=empty_status(home), on_sync=lambda: (FAILED,))
    with running(fake, home / "run" / "admin.sock"):
        status = run("push", str(bundle.folder))

    assert status == 1
    assert "it is UNAVAILABLE: the file is damaged" in capsys.readouterr().err


@pytest.mark.usefixtures("home")
def test_push_without_an_instance_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an instance the version waits in the registry."""
    status = run("push", str(make_bundle(tmp_path / "b").folder))

    assert status == 0
    assert "no instance runs" in capsys.readouterr().out


def test_a_model_file_is_numbered_by_its_content(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same file keeps its number, another one gets the next."""
    config = tmp_path / "config.pbtxt"
    tensor = "{ name: 'x' data_type: TYPE_FP32 dims: [ %s ] }"
    file = tmp_path / "model.echo"
    file.write_text("")
    arguments = ("push", str(file), "--name", "e", "--config", str(config))

    config.write_text(f"input {tensor % 4} output {tensor % 4}")
    first = [run(*arguments), run(*arguments)]
    config.write_text(f"input {tensor % 5} output {tensor % 5}")
    second = run(*arguments)

    with Registry(home) as registry:
        assert [item.version for item in registry.versions("e")] == [1, 2]
    assert (first, second) == ([0, 0], 0)
    assert "e:1 was in the registry already" in capsys.readouterr().out


@pytest.mark.usefixtures("home")
def test_pack_reports_what_the_model_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Packing runs the model, says what it takes, and writes the bundle."""
    file = tmp_path / "model.echo"
    file.write_text("")
    config = tmp_path / "config.pbtxt"
    tensor = "{ name: 'x' data_type: TYPE_FP32 dims: [ 4 ] }"
    config.write_text(f"input {tensor} output {tensor}")
    options = ("--name", "e", "--version", "3", "--max-batch-size", "8")

    status = run("pack", str(file), *options, "--config", str(config), "-o", str(tmp_path / "out"))

    out = capsys.readouterr().out
    assert status == 0
    assert "x FP32[-1,4]" in out
    assert "up to 8 rows" in out
    assert (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.usefixtures("home")
def test_a_model_that_does_not_load_is_not_packed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that its engine refuses gives the engine's reason, and no bundle."""
    (tmp_path / "model.onnx").write_bytes(b"no model")
    options = ("--name", "e", "--version", "3", "-o", str(tmp_path / "out"))

    status = run("pack", str(tmp_path / "model.onnx"), *options)

    assert status == 1
    assert "model.onnx" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx"]


def test_doctor_sees_the_instance(
    instance: FakeInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    """The doctor names what it cannot serve; what was unloaded, as after a rollout, is well."""
    unloaded = replace(FAILED, version=3, reason="unloaded")
    instance.status = replace(instance.status, versions=(READY, FAILED, unloaded))

    run("doctor", "--json")

    found = json.loads(capsys.readouterr().out)
    assert [item["text"] for item in found if item["subject"] == "instance"] == [
        "m:2 is not served: the file is damaged",
        "standalone, 1 versions, http 127.0.0.1:8000",
    ]
