"""`bascule drift`, as people and programs see it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from serving.cli.main import main
from tests.fakes.drift_rows import drawn_columns


def run(*arguments: str, code: int = 0) -> None:
    """Run a command that ends with a code."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == code


def written(file: Path, seed: int, rows: int, shift: float = 0.0) -> str:
    """Write rows as CSV; a few fields are empty."""
    columns = [
        [f"{value + shift:.4f}" for value in column.values]
        if column.name == "a"
        else [v.decode() if isinstance(v, bytes) else f"{v:.4f}" for v in column.values]
        for column in drawn_columns(seed, rows)
    ]
    columns[1][:: rows // 4] = [""] * len(columns[1][:: rows // 4])
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([("a", "b", "c", "colour"), *zip(*columns, strict=True)])
    return str(file)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A profile that was learnt from a CSV."""
    folder = tmp_path_factory.mktemp("drift")
    file = str(folder / "reference.drift")
    run("drift", "learn", written(folder / "rows.csv", 1, 1_000), "--in-order", "-o", file)
    return file


def test_rows_like_the_reference_pass(
    profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other rows from the same place raise no alarm, and the rate of false ones is said."""
    run("drift", "check", profile, written(tmp_path / "rows.csv", 2, 2_000))

    assert "0 alarms in 2,000 rows; expected without any change" in capsys.readouterr().out


def test_a_changed_column_is_named(
    profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The alarm names the column, for people and for programs."""
    rows = written(tmp_path / "rows.csv", 2, 1_000, shift=1.0)
    run("drift", "check", profile, rows)
    line = capsys.readouterr().out

    run("drift", "check", profile, rows, "--json")
    alarms = json.loads(capsys.readouterr().out)["alarms"]

    assert "CRITICAL reference: feature 'a' moved since row " in line
    assert (alarms[0]["feature"], alarms[0]["kind"]) == ("a", "input")


def test_tensors_are_read_from_npz(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An npz has inputs and outputs of any shape; rows without order are not trusted to page."""
    rng = np.random.default_rng(1)
    file, output = tmp_path / "rows.npz", tmp_path / "reference.drift"
    np.savez(file, x=rng.standard_normal((600, 3)), y=rng.standard_normal(600))

    run("drift", "learn", str(file), "--outputs", "y", "-o", str(output), "--json")

    facts = json.loads(capsys.readouterr().out)
    assert (facts["columns"], facts["calibration"]) == (4, "iid-assumed")
    assert facts["most_severe"].startswith("warning: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,b\n1\n", "record 2 has 1 fields"), ("a,b\n", "at least one"), ("", "first line must")],
    ids=["ragged", "no rows", "empty"],
)
def test_a_file_without_rows_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    """What is no table ends with one sentence."""
    file = tmp_path / "rows.csv"
    file.write_text(text)

    run("drift", "learn", str(file), "-o", str(tmp_path / "reference.drift"), code=1)

    assert message in capsys.readouterr().err


def test_what_the_reference_lacks_is_said(
    profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows without one of the reference's columns are refused by its name."""
    file = tmp_path / "rows.csv"
    file.write_text("a,b,c\n1,2,3\n")

    run("drift", "check", profile, str(file), code=1)

    assert "has no 'colour'" in capsys.readouterr().err
