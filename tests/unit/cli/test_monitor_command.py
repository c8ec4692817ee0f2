"""`bascule monitor lint`, as people and programs see it, without an instance."""

import json
from pathlib import Path

import pytest

from serving.cli.main import main
from serving.monitor.lint.catalogue import CATALOGUE
from tests.fakes.bundles import make_bundle


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path / "home"))


def run(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """Run the lint, which ends with a code; return what it prints."""
    with pytest.raises(SystemExit) as ended:
        main(["monitor", "lint", *arguments])
    said = capsys.readouterr()
    assert ended.value.code == code, said
    return said.out + said.err


def rules(folder: Path, expression: str) -> str:
    """Write a file with one alert."""
    file = folder / "rules.yaml"
    rule = {"alert": "A", "expr": expression, "labels": {"severity": "page"}}
    file.write_text(json.dumps({"groups": [{"name": "g", "rules": [rule]}]}))
    return str(file)


def test_nothing_to_judge_is_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it has looked at."""
    assert "0 versions, 0 rules: 0 errors, 0 warnings (without an instance)" in run(capsys, 0)


def test_an_error_is_exit_status_2_with_its_remedy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """For people a line each, for programs records."""
    file = rules(tmp_path, "bascule_redy == 0")

    text = run(capsys, 2, "--rules", file, "--offline")
    found = json.loads(run(capsys, 2, "--rules", file, "--json"))

    assert "ML11  rules.yaml: A: no metric is called bascule_redy" in text
    assert "→ did you mean bascule_ready?" in text
    assert (found["errors"], found["warnings"], found["rules"]) == (1, 1, 1)
    assert [one["code"] for one in found["findings"]] == ["ML11", "ML06"]


def test_the_rules_that_come_with_bascule_are_in_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also for whoever takes warnings as errors."""
    shipped = Path(__file__).parents[3] / "deploy" / "prometheus" / "rules.yaml"

    text = run(capsys, 0, "--rules", str(shipped), "--offline", "--strict")

    assert " rules: 0 errors, 0 warnings" in text
    assert " 0 rules:" not in text


def test_a_warning_counts_if_that_is_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As with preflight."""
    file = rules(tmp_path, "bascule_ready == 0")

    assert "ML06" in run(capsys, 0, "--rules", file)
    assert "ML06" in run(capsys, 1, "--rules", file, "--strict")


def test_a_bundle_is_judged(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One without a contract and a reference has nothing that could be wrong."""
    bundle = make_bundle(tmp_path / "b")

    found = json.loads(run(capsys, 0, str(bundle.folder), "--rows-per-s", "100", "--json"))

    assert len(found["versions"]) == 1
    assert found["findings"] == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("nobody:3",), "there is no registry"),
        (("--rules", "/none.yaml"), "none.yaml"),
    ],
)
def test_what_cannot_be_checked_is_exit_status_3(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], why: str
) -> None:
    """One sentence says why."""
    assert why in run(capsys, 3, *arguments)


def test_codes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Each with what must hold."""
    text = run(capsys, 0, "--codes")

    assert [code for code in CATALOGUE if code not in text] == []
