"""The demo's report: what a stranger reads, and the exit status."""

import io

import pytest
from rich.console import Console

from benchmarks.demo_report import Outcome, show


def outcome(*failures: str) -> Outcome:
    """One part of the demo, with figures as a run gives them."""
    return Outcome(
        title="A worker is killed under load",
        lines=("2 processes run `tiny` [on one machine]",),
        latencies_s={"http": [0.001, 0.002, 0.003], "grpc": []},
        request_count=1_234,
        failures=failures,
    )


def report(*outcomes: Outcome) -> tuple[int, str]:
    """The exit status and the text at eighty columns."""
    text = io.StringIO()
    return show(Console(file=text, width=80), outcomes, 12.3), text.getvalue()


def test_a_part_says_what_happened_and_how_fast() -> None:
    """Title, sentences, requests, and latencies of the wires that answered."""
    status, text = report(outcome())

    assert status == 0
    assert "1. A worker is killed under load" in text
    assert "2 processes run `tiny` [on one machine]" in text
    assert "1,234 requests, 0 failed" in text
    assert "latency: HTTP p50 2.0 ms, p99 3.0 ms\n" in text


def test_the_last_line_sums_up() -> None:
    """All requests and the time, on a line that a person finds at once."""
    _, text = report(outcome(), outcome())

    assert text.splitlines()[-1] == "2,468 requests, 0 failed, 12 s in all"


@pytest.mark.parametrize("failures", [("http: connection reset",), ("a", "b", "c", "d")])
def test_failures_are_shown_and_fail_the_demo(failures: tuple[str, ...]) -> None:
    """One failure is enough for exit status 1; the first ones are shown."""
    status, text = report(outcome(*failures))

    assert status == 1
    assert f"{len(failures)} failed" in text
    assert failures[0] in text
