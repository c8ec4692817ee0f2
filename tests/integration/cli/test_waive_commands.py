"""`bascule waive`: a finding that keeps a version from being loaded is allowed for a while."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtimes.errors import InvalidArgumentError
from serving.cli.waive import moment
from tests.fakes.standalone_server import put_model
from tests.integration.cli.test_signing_commands import Terminal

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    """A terminal with a home of its own."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path / "home"))
    return Terminal(capsys)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model whose engine would have a thousand threads."""
    put_model(tmp_path, "m")
    (tmp_path / "m" / "config.pbtxt").write_text(
        'parameters { key: "intra_op_thread_count" value { string_value: "1000" } }'
    )
    return tmp_path / "m"


def test_a_waived_error_is_told_and_counts_no_more(run: Terminal, model: Path) -> None:
    """`preflight` ends with 2, with 0 while it is waived, and with 2 again after its end."""
    run("preflight", model, status=2)
    assert "by" in run("waive", "bp-h05", "m:1", "--until", "14d", "--reason", "it is ordered")

    text = run("preflight", model)
    assert "BP-H05" in text
    assert "it is ordered" in text
    (found,) = json.loads(run("preflight", model, "--json"))["findings"]
    assert (found["severity"], "it is ordered" in found["waiver"]) == ("info", True)
    sarif = json.loads(run("preflight", model, "--format", "sarif"))
    (result,) = sarif["runs"][0]["results"]
    assert result["suppressions"][0]["justification"] == found["waiver"]
    assert "it is ordered" in run("waivers")

    run("waive", "BP-H05", "m:1", "--end", "--reason", "it is here")
    run("preflight", model, status=2)
    assert "nothing" in run("waivers")
    (past,) = json.loads(run("waivers", "--past", "--json"))
    assert (past["code"], past["model"], past["version"]) == ("BP-H05", "m", 1)


def test_only_the_named_scope_is_waived(run: Terminal, model: Path) -> None:
    """Another version's waiver says nothing of this one; a model's is for all its versions."""
    run("waive", "BP-H05", "m:2", "--until", "1d", "--reason", "r")
    run("preflight", model, status=2)
    run("waive", "BP-H05", "m", "--until", "1d", "--reason", "r")
    run("preflight", model)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(("BP-F01", "--until", "1d", "--reason", "r"), "cannot be waived", id="hash"),
        pytest.param(("BP-H05", "--until", "1d", "--reason", " "), "reason", id="no reason"),
        pytest.param(("BP-H05", "--until", "soon", "--reason", "r"), "is no end", id="no end"),
        pytest.param(("BP-H05", "--reason", "r"), "--until", id="neither"),
        pytest.param(("BP-H05", "--end", "--reason", "r"), "no waiver", id="nothing to end"),
    ],
)
def test_a_mistake_is_one_sentence(run: Terminal, words: tuple[str, ...], says: str) -> None:
    """What cannot be waived, or not so, is said with exit status 1."""
    code, *options = words
    error = run("waive", code, "m", *options, status=1)

    assert says in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12h", NOW + timedelta(hours=12)),
        ("2w", NOW + timedelta(days=14)),
        ("2026-05-02", datetime(2026, 5, 2, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_an_end_is_a_day_or_a_length(text: str, expected: datetime) -> None:
    """A day counts to its end."""
    assert moment(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "14", "-1d", "0d", "2026-13-01", "tomorrow", "999999w"])
def test_what_is_no_end_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(InvalidArgumentError, match="is no end"):
        moment(text, NOW)


def test_a_model_that_nobody_pushed_is_told(run: Terminal) -> None:
    """A waiver may come before its model, or be for one of a repository: it says which it is."""
    said = run("waive", "BP-H05", "m:7", "--until", "1d", "--reason", "r")

    assert "no model 'm' is in the registry" in said
