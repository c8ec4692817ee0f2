"""Which thresholds hold for what Locust counted, and what a command line may ask of it."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from serving.cli.locust.results import Results, Row, Thresholds, broken
from serving.cli.main import main

ROW = Row(
    transport="HTTP",
    request_count=1000,
    failure_count=0,
    requests_per_s=100.0,
    p50_ms=1.0,
    p95_ms=2.0,
    p99_ms=9.5,
    max_ms=20.0,
)


def run(*arguments: str) -> int:
    """Run the command and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(("bench", "locust", *arguments))
    return int(ended.value.code or 0)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No command of a test reaches the home of the person who runs it."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path / "home"))


def test_what_holds_is_not_told() -> None:
    """At its limit a threshold still holds."""
    limits = Thresholds(max_p99_ms=9.5, max_failure_share=0.0)

    assert broken(Results(rows=(ROW,)), limits, ("HTTP",)) == []


def test_a_slow_transport_is_named_with_both_numbers() -> None:
    """Each transport is judged by itself: a fast one does not hide a slow one."""
    slow = replace(ROW, transport="gRPC", p99_ms=12.3)
    limits = Thresholds(max_p99_ms=10.0)

    found = broken(Results(rows=(ROW, slow)), limits, ("HTTP", "gRPC"))

    assert found == ["gRPC: p99 is 12.3 ms, above --max-p99-ms 10"]


def test_failures_are_named_with_both_numbers() -> None:
    """By default no request may fail; a share may be allowed."""
    failing = Results(rows=(replace(ROW, failure_count=20),))

    assert broken(failing, Thresholds(), ("HTTP",)) == [
        "HTTP: a share of 0.02 failed (20 of 1,000), above --max-failure-share 0"
    ]
    assert broken(failing, Thresholds(max_failure_share=0.02), ("HTTP",)) == []


def test_silence_is_no_success() -> None:
    """A transport over which nothing was finished breaks the run."""
    found = broken(Results(rows=(ROW,)), Thresholds(), ("HTTP", "gRPC"))

    assert found == ["gRPC: no request was finished"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--host", "h"), "'h' is no address"),
        (("--host", "https://h:1"), "only http:// is spoken"),
        (("--host", "http://h:1"), "--url needs --grpc-url"),
        (("--users", "1"), "name one --transport"),
        (("--duration", "soon"), "as 90s"),
        (("--duration", "0s"), "no time to run"),
        (("--report", "none/r.html"), "there is no folder"),
        (("--json", "/"), "is a folder: name a file in it"),
        (("--shape", "round"), "round"),
    ],
)
def test_a_mistake_of_usage_is_exit_status_2(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is found before anything is asked or started, and the flag is named."""
    status = run("--model", "m", *arguments)

    assert status == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", "").split())


@pytest.mark.parametrize(
    ("missing", "client"), [("locust", "raw"), ("tritonclient", "tritonclient")]
)
def test_what_is_not_installed_is_named(
    missing: str,
    client: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the packages of the extra the command says how to get them."""
    monkeypatch.setitem(sys.modules, missing, None)

    status = run("--model", "m", "--client", client)

    assert status == 1
    assert capsys.readouterr().err == (
        f"bascule: this command needs {missing}: pip install 'bascule[bench]'\n"
    )
