"""Commands beside an instance that runs and does not answer: that is not none."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.cli import admin_client
from serving.cli.admin_client import AdminClient, SilentInstanceError
from serving.cli.main import main
from serving.ids import VersionKey
from serving.registry.aliases import Author
from serving.registry.rollouts.book import RolloutBook
from serving.registry.rollouts.plan import Plan
from serving.registry.store import Registry
from tests.fakes.bundles import make_bundle


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The home of an instance that takes connections and never replies."""
    home = tmp_path / "h"
    (home / "run").mkdir(parents=True)
    monkeypatch.setenv("BASCULE_HOME", str(home))
    monkeypatch.setattr(admin_client, "STATUS_LIMIT_S", 0.2)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home / "run" / "admin.sock"))
        listener.listen()
        yield home


def run(*arguments: str) -> int:
    """Run a command line and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_it_runs_and_is_told_apart(home: Path) -> None:
    """What it is asked for may be done yet."""
    client = AdminClient(home / "run" / "admin.sock")
    assert client.is_running()
    with pytest.raises(SilentInstanceError, match=r"within 0 s: try again, and see .*/h/logs"):
        client.status()


def test_nothing_is_pushed_over_what_it_may_serve(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a repository's model all calls would move; and it does not say that no instance runs."""
    folder = make_bundle(tmp_path / "b", version=7).folder

    assert run("push", str(folder)) == 1

    assert "did not answer GET /v1/status" in capsys.readouterr().err
    with Registry(home) as registry:
        assert registry.models() == frozenset()


def test_the_doctor_says_so_and_ends(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is one finding of many, with what to do."""
    assert run("doctor") == 1

    said = " ".join(capsys.readouterr().out.split())
    assert f"{home}/run/admin.sock did not answer" in said
    assert "nobody answers there" not in said


def test_a_rollout_under_way_is_reported_from_the_registry(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has all but the last moments, whoever asks why the instance hangs."""
    with Registry(home) as registry:
        for version in (1, 2):
            bundle = make_bundle(tmp_path / str(version), version=version, content=b"%d" % version)
            registry.push(bundle.folder, "ann")
        RolloutBook(registry).begin(VersionKey("m", 2), 1, Plan(), Author(who="ann"))

    assert run("rollout", "report", "1") == 0

    assert "It is under way: PENDING" in capsys.readouterr().out
