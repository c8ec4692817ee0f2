"""The `bascule` command itself: its words, its failures, and what it costs to start."""

from pathlib import Path

import pytest

from serving.cli.main import WORDS, build_app, main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Run a command line and return its exit status, stdout and stderr."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No command of a test reaches the home of the person who runs it."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`bascule --help` names each command with its line."""
    status, out, _ = run(capsys, "--help")

    assert status == 0
    assert [name for name in WORDS if name not in out] == []


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """`bascule --version` prints name and version."""
    status, out, _ = run(capsys, "--version")

    assert (status, out.split()[0]) == (0, "bascule")


@pytest.mark.parametrize("name", WORDS)
def test_every_command_has_help_with_an_example(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A command's help says what it does and shows a command line."""
    status, out, _ = run(capsys, name, "--help")

    assert status == 0
    assert f"bascule {name}" in out
    assert "Example" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nope",),
        ("promote", "m"),
        ("status", "--what"),
        ("rollout", "report", "1" + "0" * 20),  # more than a catalog can count to
    ],
)
def test_wrong_usage_is_exit_status_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    """A word or option that does not exist is a mistake of usage."""
    assert run(capsys, *arguments)[0] == 2


def test_a_failure_is_one_sentence(capsys: pytest.CaptureFixture[str], own_home: Path) -> None:
    """What goes wrong is said on stderr, with the remedy, and without a traceback."""
    status, out, err = run(capsys, "status")

    assert (status, out) == (1, "")
    assert err.startswith(f"bascule: no instance answers at {own_home}")
    assert "bascule serve" in err
    assert err.count("\n") == 1


def test_a_home_that_cannot_be_written_is_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in place of the folder is named with the remedy, not with a traceback."""
    home = tmp_path / "file"
    home.touch()
    monkeypatch.setenv("BASCULE_HOME", str(home))
    code, _, error = run(capsys, "serve")
    assert (code, error.count("\n")) == (1, 1)
    assert f"BASCULE_HOME {home} cannot be used" in error


def test_a_mistyped_setting_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown variable is refused with the nearest known one."""
    monkeypatch.setenv("BASCULE_HTPP", "x")

    status, _, err = run(capsys, "config")

    assert status == 1
    assert "did you mean BASCULE_HTTP?" in err


def test_a_setting_that_cannot_be_is_told_in_our_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came, what is expected, and where it is said; nothing of the library that read it."""
    monkeypatch.setenv("BASCULE_HTTP", "http://h:1")

    status, _, err = run(capsys, "config")

    assert status == 1
    assert err.startswith("bascule: setting 'http': 'http://h:1' is no address: write HOST:PORT")
    assert "BASCULE_HTTP" in err


def test_config_says_where_a_value_is_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each setting is shown with its value and origin."""
    monkeypatch.setenv("BASCULE_HTTP", "0.0.0.0:80")

    main_status, out, _ = run(capsys, "config")

    assert main_status == 0
    assert "0.0.0.0:80  (environment: HTTP listener)" in out
    assert "127.0.0.1:8001  (default: gRPC listener)" in out


def test_only_the_typed_command_is_imported() -> None:
    """The other commands are names and help alone."""
    app = build_app(["promote"])

    modules = {str(item.callback.__module__) for item in app.registered_commands if item.callback}
    assert modules == {"serving.cli.main", "serving.cli.operate"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("promote", "m", "--to", "x"), "invalid version 'x'"),
        (("promote", "a/b", "--to", "1"), "invalid model name"),
        (("unload", "m:0"), "invalid version '0'"),
        (("predict", "m"), "one of --json-input"),
        (("predict", "m", "--generate", "--url", "x"), "HOST:PORT"),
        (("pack", "model.pt2", "--name", "m", "--version", "1"), "can run code"),
        (("push", "model.onnx"), "--name NAME"),
        (("push", "none.onnx"), "none.onnx is no file"),
    ],
)
def test_a_wrong_argument_is_said(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    """What was typed is checked before anything is done."""
    status, _, err = run(capsys, *arguments)

    assert status == 1
    assert words in err


def test_ctrl_c_is_told_by_the_exit_status_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a command's module is still imported, too: no traceback."""

    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("serving.cli.main.import_module", interrupted)

    assert run(capsys, "loadtest", "m") == (130, "", "")


def test_ctrl_c_while_a_class_is_made_is_ctrl_c(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11 has another error of it; any other RuntimeError stays what it is."""

    def interrupted(_: str) -> None:
        raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()

    def broken(_: str) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("serving.cli.main.import_module", interrupted)
    assert run(capsys, "loadtest", "m") == (130, "", "")
    monkeypatch.setattr("serving.cli.main.import_module", broken)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        main(("loadtest", "m"))
