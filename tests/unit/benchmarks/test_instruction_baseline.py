"""Instructions per request against a baseline: what fails, and what is only said."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from benchmarks.instructions.__main__ import main, report
from benchmarks.instructions.baseline import Counted, compare, read, record, recorded, write
from benchmarks.instructions.counting import differing


def counts(**instructions: int) -> Counted:
    """Counts of these kinds of call."""
    return Counted(interpreter="CPython 3.11", packages={"numpy": "2.0"}, instructions=instructions)


def test_a_tenth_more_passes_and_one_over_that_fails() -> None:
    """The limit itself is allowed."""
    lines = compare(counts(http=1100, grpc=1101), counts(http=1000, grpc=1000))

    assert [line.is_failure for line in lines] == [False, True]
    assert lines[1].remark == "GREW by 10.1%, more than 10%"


def test_what_fell_much_asks_to_be_recorded() -> None:
    """It passes; but what was won could be lost again without a word."""
    (line,) = compare(counts(http=900), counts(http=1000))

    assert not line.is_failure
    assert line.remark.startswith("fell by 10.0%: record it")


def test_a_call_that_only_one_side_has_fails() -> None:
    """Nobody gets round the line by taking a kind of call away, or by adding one."""
    lines = compare(counts(new=1), counts(old=1))

    assert [(line.case, line.is_failure, line.remark) for line in lines] == [
        ("new", True, "NOT IN THE BASELINE"),
        ("old", True, "NOT COUNTED: the baseline has it"),
    ]


@pytest.mark.parametrize(("found", "status"), [(1000, 0), (1200, 1)])
def test_the_exit_status_is_the_verdict(
    found: int, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 comes with the way to record what is meant."""
    assert report(counts(http=found), counts(http=1000)) == status
    assert ("--update" in capsys.readouterr().out) is bool(status)


def test_counts_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Also where the folder is not there yet."""
    write(tmp_path / "new" / "counts.json", counts(http=7))

    assert read(tmp_path / "new" / "counts.json") == counts(http=7)


def test_each_interpreter_has_a_baseline_of_its_own(tmp_path: Path) -> None:
    """Recording one anew leaves the others' alone."""
    file = tmp_path / "baseline.json"
    other = replace(counts(http=5), interpreter="CPython 3.12")
    for one in (counts(http=7), other, counts(http=6)):
        record(file, one)

    assert recorded(file, "CPython 3.11") == counts(http=6)
    assert recorded(file, "CPython 3.12") == other
    assert recorded(file, "CPython 3.13") is None


def test_other_packages_are_named() -> None:
    """Those that differ, are missing or are new, each with the baseline's version."""
    told = differing({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "1", "d": "4"})

    assert told == "b 2 (baseline: 1), c 3 (baseline: none), d none (baseline: 4)"


@pytest.mark.parametrize("name", ["empty", "text", "object", "list", "none"])
def test_a_file_without_counts_is_told(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one sentence with its name; one that is not there, too."""
    (tmp_path / "empty").write_text("")
    (tmp_path / "text").write_text("no JSON")
    (tmp_path / "object").write_text("{}")
    (tmp_path / "list").write_text("[]")
    judged = ["x", "--judge", str(tmp_path / name), "--results", str(tmp_path)]
    monkeypatch.setattr("sys.argv", judged)

    assert main() == 1

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(tmp_path / name) in said
