"""`bascule contract infer` and `check`, and the draft that `bascule pack` makes."""

import json
from pathlib import Path

import numpy as np
import pytest

from serving.cli.main import main
from serving.registry.bundles.bundle import read_bundle
from serving.registry.contracts.contract_file import parse_contract
from serving.registry.contracts.data_contract import Action
from tests.fakes import models
from tests.fakes.model_files import bundle

REVISION = ("--code-revision", "abc")
ROWS = 500


def run(*arguments: str) -> int:
    """Run a command line and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def reference(folder: Path, name: str = "reference.csv") -> Path:
    """A table of ages, incomes that may be missing, and states."""
    random = np.random.default_rng(5)
    lines = ["age,income,state"]
    for row in range(ROWS):
        income = "" if row % 50 == 0 else f"{random.uniform(10, 20):.2f}"
        lines.append(f"{random.integers(18, 80)},{income},{('MA', 'NO')[row % 2]}")
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return file


def test_a_draft_of_a_table_fits_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its own rows break nothing that blocks; a table that is off does once it is active."""
    table, contract = reference(tmp_path), tmp_path / "contract.yaml"
    assert run("contract", "infer", str(table), "--output", str(contract)) == 0
    found = parse_contract(contract.read_bytes())

    assert found.is_draft
    assert [one.name for one in found.inputs] == ["age", "income", "state"]
    assert found.inputs[1].max_null_rate == pytest.approx(0.035)
    assert run("contract", "check", str(contract), str(table)) == 0

    active = contract.read_text().replace("status: draft", "status: active")
    contract.write_text(active.replace("on_violation: count", "on_violation: reject"))
    (tmp_path / "off.csv").write_text("age,income,state\n30,15,MA\n400,15,MA\n30,15,TX\n")
    capsys.readouterr()
    assert run("contract", "check", str(contract), str(tmp_path / "off.csv"), "--json") == 1
    checked = json.loads(capsys.readouterr().out)
    assert {one["rule"]: one["rows"] for one in checked["findings"]} == {
        "age.max": [1],
        "state.allowed": [2],
    }
    assert checked["blocking_count"] == 2


def test_a_file_is_never_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A contract that somebody corrected stays."""
    table, contract = reference(tmp_path), tmp_path / "contract.yaml"
    contract.write_text("contract: 1\n")

    assert run("contract", "infer", str(table), "--output", str(contract)) == 1
    assert contract.read_text() == "contract: 1\n"
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("rows.txt", "a\n1\n", "one of .csv, .parquet, .npz is expected"),
        ("none.csv", "a,b\n", "the same rows, at least one"),
        ("short.csv", "a,b\n1\n", "record 2 has 1 fields, and the first line 2"),
        ("twice.csv", "a,a\n1,2\n", "must name every column, each once"),
        ("bad.npz", "zip", "no .npz file"),
        ("bad.parquet", "zip", "arquet"),
    ],
)
def test_a_file_that_holds_no_rows_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, says: str
) -> None:
    """With what is wrong about it; Parquet also where what reads it is not installed."""
    (tmp_path / name).write_text(content)

    assert run("contract", "infer", str(tmp_path / name)) == 1
    assert says in capsys.readouterr().err


def test_parquet_is_read_like_any_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same columns, whatever the file is."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"n": [1, 2, 3] * 50, "f": [1.5, None, 2.5] * 50, "s": ["a", "b", None] * 50}
    parquet.write_table(pyarrow.table(columns), tmp_path / "rows.parquet")

    assert run("contract", "infer", str(tmp_path / "rows.parquet")) == 0
    found = parse_contract(capsys.readouterr().out.encode())
    assert [one.name for one in found.inputs] == ["n", "f", "s"]
    assert found.inputs[1].max_null_rate is not None


def test_pack_drafts_a_contract_from_golden_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so, the bundle holds the draft, and checking its own rows finds nothing."""
    random = np.random.default_rng(3)
    rows = tmp_path / "rows.npz"
    np.savez(rows, x=random.uniform(0, 1, (ROWS, 16)).astype(np.float32))
    (tmp_path / "m.onnx").write_bytes(models.tiny())
    names = ("--name", "m", "--version", "1", "-o", str(tmp_path / "b"), "--max-batch-size", "512")

    assert run("pack", str(tmp_path / "m.onnx"), *names, *REVISION, "--golden", str(rows)) == 0

    assert "contract.yaml was drafted from golden samples, 500 rows" in capsys.readouterr().out
    bundle = read_bundle(tmp_path / "b")
    assert bundle.manifest.contract_file == "contract.yaml"
    found = parse_contract((bundle.folder / "contract.yaml").read_bytes())
    assert found.is_draft
    assert {rule.action for one in found.inputs for rule in one.rules} == {Action.COUNT}
    assert [one.column for one in found.inputs if one.column is not None] == list(range(16))
    assert run("contract", "check", str(bundle.folder), str(rows)) == 0
    assert "500 rows, 0 break a rule of the draft contract" in capsys.readouterr().out


def test_pack_drafts_nothing_from_inputs_that_it_made_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their ranges say nothing: it says what to bring."""
    (tmp_path / "m.onnx").write_bytes(models.tiny())
    names = ("--name", "m", "--version", "1", "-o", str(tmp_path / "b"))

    assert run("pack", str(tmp_path / "m.onnx"), *names, *REVISION) == 0

    assert not read_bundle(tmp_path / "b").manifest.contract_file
    assert "data contract: say --contract, or bring rows" in capsys.readouterr().out


def test_a_bundle_without_a_contract_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told how one is drafted, and how it comes into the bundle."""
    folder = bundle(tmp_path)

    assert run("contract", "check", str(folder), "rows.npz") == 1

    said = capsys.readouterr().err
    assert "has no data contract" in said
    assert f"bascule contract infer rows.npz --model {folder}" in said
