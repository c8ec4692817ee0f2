"""`bascule push` under the name of a model that the instance serves from its repository."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from serving.cli.main import main
from serving.cli.tune.keeping import push_tuned
from serving.edge.control import VersionRecord
from serving.errors import AlreadyExistsError
from serving.registry.store import Registry
from serving.registry.version import VersionState
from serving.settings import load_settings
from tests.fakes.admin_server import FakeInstance, empty_status, running
from tests.fakes.bundles import make_bundle

OF_REPOSITORY = VersionRecord(
    model="m", version=1, state=VersionState.READY, origin="repository /srv/models"
)
PUSHED = VersionRecord(
    model="m", version=7, state=VersionState.READY, pool="s1", origin="registry /home/registry"
)
FORCE = ("--force", "--reason", "the new tokenizer")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home that commands of this test work on."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path / "h"))
    return tmp_path / "h"


@pytest.fixture
def instance(home: Path) -> Iterator[FakeInstance]:
    """It serves `m` from its repository, and what was pushed once it has read the registry."""
    status = replace(empty_status(home), versions=(OF_REPOSITORY,), live={"m": 1})
    fake = FakeInstance(status=status)

    def load() -> tuple[VersionRecord, ...]:
        fake.status = replace(fake.status, live={"m": 7})
        return (PUSHED,)

    fake.on_sync = load
    with running(fake, home / "run" / "admin.sock") as answered:
        yield answered


def run(*arguments: str) -> int:
    """Run a command line and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def pushed(home: Path) -> list[tuple[int, str, str]]:
    """Number, detail and reason of every push that the registry knows of."""
    with Registry(home) as registry:
        events = registry.events("m")
    return [
        (one.version or 0, one.detail.partition("; ")[2], one.reason)
        for one in events
        if one.action == "push"
    ]


def test_a_push_over_a_repositorys_model_is_refused(
    home: Path, instance: FakeInstance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its calls would move: nothing is pushed and nothing read; what to do is said."""
    status = run("push", str(make_bundle(tmp_path / "b", version=7).folder))

    said = capsys.readouterr().err
    assert status == 1
    assert "'m' is served from the model repository (m:1 (live))" in said
    assert "--force --reason TEXT" in said
    assert pushed(home) == []
    assert not [call for call in instance.calls if "sync" in call]


def test_a_model_file_is_refused_before_it_is_packed(
    home: Path, instance: FakeInstance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that no engine would load is refused for its name."""
    (tmp_path / "m.onnx").write_bytes(b"no model")

    assert run("push", str(tmp_path / "m.onnx")) == 1
    assert "is served from the model repository" in capsys.readouterr().err
    assert pushed(home) == []
    assert instance.status.live == {"m": 1}


@pytest.mark.usefixtures("instance")
def test_a_forced_push_says_what_it_replaced(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is live now, and the way back; the audit log has the reason and what it replaced."""
    status = run("push", str(make_bundle(tmp_path / "b", version=7).folder), *FORCE)

    assert status == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "m:7 replaces the repository's m:1 (live): live is 7 now; back: bascule unload m"
    )
    assert pushed(home) == [
        (7, "forced: replaces the repository's m:1 (live)", "the new tokenizer")
    ]


@pytest.mark.usefixtures("instance")
def test_a_forced_push_tells_programs_what_it_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--json` has the same names."""
    run("push", str(make_bundle(tmp_path / "b", version=7).folder), *FORCE, "--json")

    assert json.loads(capsys.readouterr().out)["replaced"] == ["m:1 (live)"]


@pytest.mark.usefixtures("home")
def test_a_forced_push_needs_a_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without one nothing is done."""
    assert run("push", str(make_bundle(tmp_path / "b").folder), "--force") == 1
    assert "--force needs --reason TEXT" in capsys.readouterr().err


@pytest.mark.usefixtures("instance")
def test_an_import_takes_nobodys_place(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`bascule import --push` refuses such a model before it is packed, and says why."""
    folder = tmp_path / "models" / "m"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.onnx").write_bytes(b"no model")
    (folder / "config.pbtxt").write_text('name: "m"')

    assert run("import", str(folder), "--push") == 1
    seen = capsys.readouterr()
    assert "is served from the model repository" in seen.out + seen.err
    assert pushed(home) == []


def test_tuning_writes_no_version_over_a_repositorys_model(
    home: Path, instance: FakeInstance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused before anything is measured, and, if the instance came later, when pushed."""
    bundle = make_bundle(tmp_path / "b", version=7)
    status = run("tune", str(bundle.folder), "--slo-p99-ms", "5", "--write")

    assert status == 1
    assert "'m' is served from the model repository (m:1 (live))" in capsys.readouterr().err
    with pytest.raises(AlreadyExistsError, match="nothing was pushed"):
        push_tuned(bundle, "", {}, load_settings(), None)
    assert pushed(home) == []
    assert not [call for call in instance.calls if "sync" in call]
