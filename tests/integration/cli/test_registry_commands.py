"""Commands on a registry, without any instance."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sql

from serving.cli.main import main
from serving.registry.database import Database
from serving.registry.store import Registry
from tests.fakes.admin_server import FakeInstance, empty_status, running
from tests.fakes.bundles import CONFIG, make_bundle

OTHER = CONFIG.replace('"x"', '"pixels"').replace("max_batch_size: 8", "max_batch_size: 16")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with m:1 and m:2, whose input is renamed and whose batch is larger."""
    home = tmp_path / "h"
    monkeypatch.setenv("BASCULE_HOME", str(home))
    with Registry(home) as registry:
        registry.push(make_bundle(tmp_path / "1").folder, "ann")
        changed = make_bundle(tmp_path / "2", version=2, content=b"other", config=OTHER)
        registry.push(changed.folder, "bob")
    return home


def run(*arguments: str) -> int:
    """Run a command line and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.mark.usefixtures("home")
def test_list_shows_versions(capsys: pytest.CaptureFixture[str]) -> None:
    """Each version with its state, its aliases and who pushed it."""
    run("alias", "m", "staging", "--to", "2")
    run("archive", "m@staging", "--reason", "not good")
    capsys.readouterr()

    assert run("list", "--json") == 0

    listed = json.loads(capsys.readouterr().out)
    assert [(item["state"], item["aliases"], item["pushed_by"]) for item in listed] == [
        ("wanted", ["@live"], "ann"),
        ("archived", ["@staging"], "bob"),
    ]
    assert run("list") == 0
    assert "@staging" in capsys.readouterr().out


@pytest.mark.usefixtures("home")
def test_an_unknown_model_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that was never pushed is told, in one sentence."""
    assert run("list", "nothing") == 1
    assert run("show", "m:7") == 1
    assert run("show", "m@old") == 1
    assert run("environment", "nothing") == 1
    assert run("tune", "nothing", "--slo-p99-ms", "50") == 1

    said = capsys.readouterr().err
    assert "nothing of 'nothing' was pushed" in said
    assert "m:7 is not in the registry: 'm' has 1, 2" in said
    assert "'m' has no alias 'old'; it has: @live" in said
    assert "no model 'nothing' is in the registry, and no instance runs" in said
    assert "no model 'nothing' is in the registry: there are m" in said


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("target", ["m", "m:1", "m@live"])
def test_show_tells_all_of_a_version(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By number, by alias, or the live one; files and tensors are there."""
    assert run("show", target) == 0

    said = capsys.readouterr().out
    for text in ("m:1  wanted @live", "by ann", "model.echo", "input x  FP32[-1,4]", "digest"):
        assert text in said


@pytest.mark.usefixtures("home")
def test_diff_says_what_changed_and_what_did_not(capsys: pytest.CaptureFixture[str]) -> None:
    """Weights, policy and tensors that changed, parts that did not, and what callers notice."""
    assert run("diff", "m@live", "m:2") == 0

    said = capsys.readouterr().out
    for text in (
        "m:1 → m:2",
        "max_batch_rows: 8 → 16",
        "model.echo: sha256",
        "unchanged: requirements, environment, lineage, metrics",
        "BREAKS: input 'x' is called 'pixels' now",
        "compatible: batch takes at most 16 rows instead of at most 8 rows",
    ):
        assert text in said
    run("diff", "m:1", "m:1", "--json")
    same = json.loads(capsys.readouterr().out)["comparison"]
    assert same["contract"] == []
    assert not any(part["differences"] for part in same["parts"])


@pytest.mark.usefixtures("home")
def test_history_tells_who_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    """Newest first, with the reason."""
    run("archive", "m:2", "--reason", "worse on new data")
    capsys.readouterr()

    assert run("history", "m", "--json") == 0

    events = json.loads(capsys.readouterr().out)
    assert [event["action"] for event in events] == ["unwant", "push", "pin_live", "push"]
    assert events[0]["reason"] == "worse on new data"


@pytest.mark.usefixtures("home")
def test_the_live_version_is_not_archived(capsys: pytest.CaptureFixture[str]) -> None:
    """It must be replaced, or taken out of service, first."""
    assert run("archive", "m:1", "--reason", "old") == 1
    assert "m:1 is live: promote another version first" in capsys.readouterr().err


def test_a_version_that_becomes_live_meanwhile_is_not_archived(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody promotes it after the command has looked: it goes on answering."""
    changing = Database.changing

    @contextmanager
    def promoted_first(database: Database) -> Iterator[sql.Connection]:
        monkeypatch.setattr(Database, "changing", changing)
        with Registry(home) as other:
            other.pin_live("m", 2, "bob")
        with changing(database) as connection:
            yield connection

    monkeypatch.setattr(Database, "changing", promoted_first)
    assert run("archive", "m:2", "--reason", "old") == 1

    assert "m:2 is live: promote another version first" in capsys.readouterr().err
    with Registry(home) as registry:
        assert dict(registry.picture().pinned_live) == {"m": 2}
        assert [spec.version for spec in registry.picture().wanted] == [1, 2]


@pytest.mark.usefixtures("home")
def test_live_is_set_by_promotions_only(capsys: pytest.CaptureFixture[str]) -> None:
    """The alias that routes follow is not set by hand."""
    assert run("alias", "m", "live", "--to", "2") == 1
    assert "bascule promote" in capsys.readouterr().err


@pytest.mark.usefixtures("home")
def test_an_alias_is_moved_and_forgotten(capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it stood for before."""
    run("alias", "m", "a", "--to", "1")
    run("alias", "m", "a", "--to", "2", "--reason", "newer")
    run("alias", "m", "a", "--delete")

    said = capsys.readouterr().out.splitlines()
    assert said == [
        "m@a stands for version 1",
        "m@a stands for version 2 (before: 1)",
        "m@a stands for nothing (before: 2)",
    ]
    assert run("alias", "m", "a", "--delete") == 1


def test_the_registry_is_checked_and_collected(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All agrees; then a bundle is damaged and the check fails and names it."""
    assert run("registry", "check") == 0
    assert run("audit", "verify") == 0
    assert run("gc", "--archived", "--keep-days", "0") == 0
    said = capsys.readouterr().out
    assert "2 versions: rows, files, aliases and the audit log agree" in said
    assert "3 events, unbroken" in said
    assert "removed 0 bundles" in said

    for file in (home / "registry" / "bundles").rglob("model.echo"):
        file.unlink()
    assert run("registry", "check") == 1
    assert "PROBLEM: m:1" in capsys.readouterr().err


def test_aliases_are_read_by_commands_on_the_instance(home: Path) -> None:
    """`unload MODEL@ALIAS` and `promote --to @ALIAS` name the alias's version."""
    run("alias", "m", "staging", "--to", "2")
    fake = FakeInstance(status=empty_status(home))
    with running(fake, home / "run" / "admin.sock"):
        run("unload", "m@staging")
        run("promote", "m", "--to", "@staging", "--force", "--reason", "they know")

    assert fake.calls == [
        'POST /v1/models/m/retire {"version": 2}',
        'POST /v1/models/m/promote {"version": 2, "force": true, "reason": "they know"}',
    ]


@pytest.mark.usefixtures("home")
def test_force_needs_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """A forced promotion says why."""
    assert run("promote", "m", "--to", "2", "--force") == 1
    assert "--force needs --reason" in capsys.readouterr().err
