"""What cannot be done is one sentence, before any work, and an exit status that means it."""

import tempfile
from pathlib import Path

import pytest

from serving.cli.main import main

ID = "0198c1de-7d2c-7001-9c1e-5f0f6f1d2a3b"
NO_URL = "foo://x"


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path / "home"))


def failed(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """Run a command that ends with a code; return the sentence that it says."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == code
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n"), said.err[:9]) == ("", 1, "bascule: ")
    return said.err[9:-1]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["no/such/bundle"], "no/such/bundle"),
        (["nobody:3"], "nobody"),
        ([ID], "where predictions are logged was not said"),
        ([ID, "--device", "cuda"], "--device is for versions"),
        ([ID, "--log", NO_URL], "Protocol not known"),
    ],
)
def test_what_could_not_be_reproduced_at_all_is_not_called_different(
    capsys: pytest.CaptureFixture[str], arguments: list[str], why: str
) -> None:
    """Exit status 1 says that it was run and differs: here nobody can tell, 2."""
    assert why in failed(capsys, 2, "reproduce", *arguments)


def test_a_log_that_nothing_here_can_read_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A URL of no known kind, or one whose package is not installed; no password is shown."""
    assert NO_URL in failed(capsys, 1, "log", "list", "--log", NO_URL)
    text = failed(capsys, 1, "log", "show", ID, "--log", "foo://me:secret@x/log")

    assert "foo://me:***@x/log" in text
    assert "secret" not in text


def test_a_package_that_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A store of a known kind says which package it needs."""
    assert "ocifs" in failed(capsys, 1, "log", "list", "--log", "oci://bucket/log")


@pytest.mark.parametrize("command", [("history", "m"), ("audit", "log")])
def test_a_limit_that_no_database_knows_is_a_mistake(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    """The range is told, as of any number that is out of it."""
    with pytest.raises(SystemExit) as ended:
        main([*command, "--limit", f"{10**30}"])
    assert ended.value.code == 2
    assert "less than or equal to 10000000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "why"),
    [("no/such/train.csv", "there is no folder"), ("folder.npz", "it is a folder")],
)
def test_where_to_write_is_looked_at_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, why: str
) -> None:
    """Nobody waits for an export that cannot be written: the log is not even opened."""
    (tmp_path / "folder.npz").mkdir()
    target = str(tmp_path / file)

    text = failed(capsys, 1, "log", "export", target, "--log", NO_URL)
    assert f"{target} cannot be written: {why}" in text


@pytest.mark.parametrize(
    ("setting", "arguments"),
    [
        ("HOME", ["list"]),
        ("BLOBS", ["list"]),
        ("EVENTS_FILE", ["events", "receivers"]),
        ("PREDICTION_LOG", ["log", "list"]),
    ],
)
def test_a_home_of_nobody_is_named(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    arguments: list[str],
) -> None:
    """A path that leads nowhere is one sentence, as every other setting that is wrong."""
    monkeypatch.setenv(f"BASCULE_{setting}", "~nosuchuser/x")
    text = failed(capsys, 1, *arguments)

    assert f"BASCULE_{setting} '~nosuchuser/x': no such user here" in text


def test_a_home_that_is_no_utf8_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is made there."""
    monkeypatch.setenv("BASCULE_HOME", "/nowhere/\udcff")
    assert failed(capsys, 1, "serve").startswith("BASCULE_HOME '/nowhere/\\udcff' is not UTF-8")


def test_a_registry_that_cannot_be_opened_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One sentence says what of it, why, and for which user."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path))
    (tmp_path / "registry").write_text("no folder")

    text = failed(capsys, 1, "list")

    assert f"the registry cannot be opened: {tmp_path}/registry: File exists: user " in text


def test_a_machine_without_a_temporary_folder_is_told_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A container whose root is read-only, for one."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/no/such/folder"])
    (tmp_path / "m.onnx").write_bytes(b"")

    assert "set TMPDIR" in failed(capsys, 1, "push", str(tmp_path / "m.onnx"))


def test_a_folder_that_cannot_be_made_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A file in its place, as a disk that is read-only, is one sentence with the path."""
    file = tmp_path / "file"
    file.touch()

    text = failed(capsys, 1, "keys", "new", "ann", "--output", str(file / "keys"))

    assert text == f"{file / 'keys'}: Not a directory"


def test_a_contract_that_is_none_is_not_packed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """No worker would take such a version: it is told before the model is run."""
    (tmp_path / "contract.yaml").write_text("sl,sw\n1,2\n")
    given = ("--contract", str(tmp_path / "contract.yaml"), "--output", str(tmp_path / "made"))

    text = failed(capsys, 1, "pack", "m.onnx", "--name", "m", "--version", "1", *given)

    assert text.endswith("contract.yaml: contract: a mapping of names to values is expected")
    assert not (tmp_path / "made").exists()
