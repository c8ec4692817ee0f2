"""The hot path's instructions per request: the line that CI holds."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from benchmarks.instructions.__main__ import why_not_comparable
from benchmarks.instructions.baseline import BASELINE, read, record
from benchmarks.instructions.counting import ROOT, why_not

LIMIT_S = 220  # of a program that takes some tens of seconds


@dataclass(frozen=True)
class Told:
    """What the program said, and the counts that it wrote."""

    status: int
    text: str
    results: Path


def judge(*arguments: str) -> tuple[int, str]:
    """Run the program; return its exit status and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.instructions", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Count once, against the recorded baseline."""
    if reason := why_not() or why_not_comparable(BASELINE):
        pytest.skip(reason)
    results = tmp_path_factory.mktemp("instructions")
    status, text = judge("--results", str(results))
    return Told(status, text, results / "instructions.json")


def test_a_request_needs_no_more_than_a_tenth_over_its_baseline(told: Told) -> None:
    """Every kind of call is within its limit; the message says what to do if one is not."""
    assert told.status == 0, told.text


def test_a_growth_of_a_quarter_fails_and_says_how_to_record_it(told: Told, tmp_path: Path) -> None:
    """Against a baseline that is a fifth lower, the same counts fail, one by one."""
    known = read(told.results)
    lower = {case: round(count * 0.8) for case, count in known.instructions.items()}
    record(tmp_path / "lower.json", msgspec.structs.replace(known, instructions=lower))

    status, text = judge("--judge", str(told.results), "--baseline", str(tmp_path / "lower.json"))

    assert status == 1, text
    for case in lower:
        assert f"{case}: GREW by 25.0%, more than 10%" in text
    assert "python -m benchmarks.instructions --update" in text


def test_who_watches_costs_little_and_a_lonely_call_much(told: Told) -> None:
    """The counts mean what they say: more work is more instructions."""
    counts = read(told.results).instructions

    assert counts["http"] < counts["http drift"] < counts["http watched"] < counts["http alone"]
    assert counts["http"] < counts["http contract"] < counts["http watched"]
    assert counts["http watched"] < 1.1 * counts["http"]
    assert 0.5 < counts["grpc"] / counts["http"] < 2
