"""`bascule contract check` of tables whose columns are those of one input's matrix."""

from pathlib import Path

import pytest

from serving.cli.main import main

CONTRACT = """contract: 1
status: active
inputs: {x: {dtype: FP32, shape: [-1, 2]}}
features:
  age: {input: x, column: 0, min: 0, on_violation: reject}
  pay: {input: x, column: 1, min: 0, on_violation: reject}
"""
WHOLE = CONTRACT.replace("FP32", "UINT8")


def checked(
    folder: Path, capsys: pytest.CaptureFixture[str], contract: str, rows: str
) -> tuple[int, str]:
    """Check rows; return the exit status and what was said."""
    (folder / "contract.yaml").write_text(contract)
    (folder / "rows.csv").write_text(rows)
    with pytest.raises(SystemExit) as ended:
        main(("contract", "check", str(folder / "contract.yaml"), str(folder / "rows.csv")))
    said = capsys.readouterr()
    return int(ended.value.code or 0), (said.out + said.err).strip()


@pytest.mark.parametrize(
    ("contract", "rows", "told"),
    [
        (CONTRACT, "age,pay\n1,2\nold,3\n", "column 'age' is no FP32: could not convert"),
        (
            CONTRACT,
            "age,pay\n1,2\n1e39,3\n",
            "is no FP32: [1] is 1e+39, which FP32 cannot hold",
        ),
        (
            WHOLE,
            "age,pay\n1,300\n",
            "is no UINT8: [0] is 300, which UINT8 cannot hold",
        ),
        (
            WHOLE,
            "age,pay\n1,2\n1,1.5\n",
            "is no UINT8: [1] is 1.5, which UINT8 cannot hold",
        ),
        (
            WHOLE,
            "age,pay\n1,2\n1,\n",
            "is no UINT8: [1] is nan, which UINT8 cannot hold",
        ),
        (CONTRACT, "age\n1\n", "has no column 'pay': it has age"),
    ],
)
def test_what_a_model_cannot_be_given_is_told_with_its_column(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    contract: str,
    rows: str,
    told: str,
) -> None:
    """No other value is judged in its place, nor a zero for a column that is not there."""
    status, said = checked(tmp_path, capsys, contract, rows)

    assert status == 1
    assert said.startswith("bascule: rows.csv")
    assert told in said


def test_columns_in_a_models_order_are_told_likewise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the contract names none of them, and they are the one input's in their order."""
    contract = "contract: 1\nstatus: active\ninputs: {x: {dtype: FP32, shape: [-1, 2], min: 0}}\n"

    status, said = checked(tmp_path, capsys, contract, "a,b\n1,2\n1,many\n")

    assert (status, said.startswith("bascule: rows.csv: column 'b' is no FP32")) == (1, True)


def test_a_contract_of_answers_alone_judges_no_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told, for nothing was checked."""
    contract = "contract: 1\nstatus: active\noutputs: {y: {min: 0, on_violation: flag}}\n"

    status, said = checked(tmp_path, capsys, contract, "a\n1\n")

    assert (status, "nothing in it is an input that" in said) == (1, True)
