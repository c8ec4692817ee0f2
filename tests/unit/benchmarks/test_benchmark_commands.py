"""What the benchmarks have in common: help, what they may be told, what is left of a bad end."""

import errno
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from benchmarks.command import add_results, command_parser, count, positive, run_main
from benchmarks.report import ResultsError, keep, write


@pytest.fixture(autouse=True)
def _own_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.command.unwind_when_told", lambda: None)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (ResultsError("r.md cannot be written"), 1, "r.md cannot be written\n"),
        (OSError(errno.ENOSPC, "No space left"), 1, "[Errno 28] No space left\n"),
    ],
    ids=["ctrl-c", "report", "disk"],
)
def test_a_bad_end_is_no_traceback(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C is a status alone, and what cannot be written is a sentence."""

    def main() -> int:
        raise error

    with pytest.raises(SystemExit) as ended:
        run_main(main)

    assert (ended.value.code, capsys.readouterr().err) == (status, said)


def test_help_is_what_the_module_says(capsys: pytest.CaptureFixture[str]) -> None:
    """With its lines as they are, and the command as it is typed."""
    parser = command_parser("benchmarks.x", "What it does.\n\n    python -m benchmarks.x --y 1\n")

    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])

    said = capsys.readouterr().out
    assert "usage: python -m benchmarks.x" in said
    assert "What it does.\n\n    python -m benchmarks.x --y 1\n" in said


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", ""])
def test_a_number_of_things_is_at_least_one(text: str) -> None:
    """No report is the median of nothing."""
    with pytest.raises(ArgumentTypeError):
        count(text)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x"])
def test_a_time_is_above_none_and_ends(text: str) -> None:
    """What would divide by nothing or never end is a mistake of usage."""
    with pytest.raises(ArgumentTypeError):
        positive(text)


def test_a_place_that_takes_no_report_is_told_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before minutes of measuring, not after."""
    (tmp_path / "file").write_text("")
    parser = command_parser("benchmarks.x", None)
    add_results(parser)

    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--results", str(tmp_path / "file")])

    assert ended.value.code == 2
    assert "file cannot be written: File exists" in capsys.readouterr().err
    assert parser.parse_args(["--results", str(tmp_path / "new")]).results.is_dir()


def test_a_report_is_printed_though_it_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was measured is on the screen by then."""
    (tmp_path / "file").write_text("")

    with pytest.raises(ResultsError, match="--results DIR names another folder"):
        write(tmp_path / "file", "x", "# Figures", [])

    assert "# Figures" in capsys.readouterr().out


def test_a_file_is_written_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    """What was there before stays, and nothing lies beside it."""
    (tmp_path / "x.md").mkdir()

    with pytest.raises(ResultsError):
        keep(tmp_path / "x.md", "new")

    assert [one.name for one in tmp_path.iterdir()] == ["x.md"]
