"""`bascule preflight`: exit statuses, the three formats, and facts of another node."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtimes.facts_json import facts_json
from runtimes.preflight.catalogue import CATALOGUE
from serving.registry.store import Registry
from tests.fakes import archives, models
from tests.fakes.model_files import bundle, write
from tests.fakes.node_facts import CPU_NODE


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of our own for the command."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    code = "from serving.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "preflight", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_a_clean_bundle_of_the_registry(home: Path, tmp_path: Path) -> None:
    """MODEL:VERSION is found in the registry; nothing to mend is exit status 0."""
    with Registry(home) as registry:
        registry.push(bundle(tmp_path), "test")

    done = run("m:1", "--dynamic", "--json")

    found: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode, found["errors"], found["tried"]) == (0, 0, True), done.stderr


def test_errors_are_exit_status_2_in_every_format(tmp_path: Path) -> None:
    """Text, JSON and SARIF have the same codes; the remedy is printed."""
    file = write(tmp_path, models.bad_opset())
    text, as_json, sarif = (run(file, "--format", f) for f in ("text", "json", "sarif"))

    results = json.loads(sarif.stdout)["runs"][0]["results"]
    findings = json.loads(as_json.stdout)["findings"]
    assert [one.returncode for one in (text, as_json, sarif)] == [2, 2, 2]
    assert [one["code"] for one in findings] == [one["ruleId"] for one in results] == ["BP-O01"]
    assert "BP-O01" in text.stdout
    assert "→ export it with opset" in text.stdout


def test_a_node_that_is_not_here(tmp_path: Path) -> None:
    """Facts of a CPU node refuse a profile for GPUs."""
    facts = tmp_path / "facts.json"
    facts.write_text(facts_json(CPU_NODE))

    done = run(write(tmp_path, models.tiny()), "--facts", facts, "--profile", "cuda", "--json")

    assert [one["code"] for one in json.loads(done.stdout)["findings"]] == ["BP-E01"]


def test_strict_counts_warnings(tmp_path: Path) -> None:
    """A folder that all may write is well without strict, and an error with it."""
    file = write(tmp_path, models.tiny())
    file.parent.chmod(0o777)

    assert run(file).returncode == 0
    assert run(file, "--strict").returncode == 2


def test_what_cannot_be_checked_is_exit_status_3(tmp_path: Path) -> None:
    """Nothing is there: one sentence, and another status than that of an error in a model."""
    done = run(tmp_path / "nothing")

    assert done.returncode == 3
    assert "does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_onnx_model_needs_no_torch(tmp_path: Path) -> None:
    """Torch is not imported where the model is none of its."""
    file = write(tmp_path, models.tiny())
    code = (
        "import sys\nfrom serving.cli.main import main\n"
        "try:\n    main(['preflight', sys.argv[1]])\n"
        "finally:\n    print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )

    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_the_codes_are_listed() -> None:
    """--codes prints the catalogue."""
    listed = json.loads(run("--codes", "--json").stdout)

    assert [one["code"] for one in listed] == list(CATALOGUE)


def test_torchscript_without_its_inputs_is_found(tmp_path: Path) -> None:
    """It would be refused when it is loaded; a trial shows the text that it wants."""
    write(tmp_path, archives.script(), "model.pt").parent.rename(tmp_path / "1")

    done = run(tmp_path, "--json")

    (found,) = [one for one in json.loads(done.stdout)["findings"] if one["severity"] == "error"]
    assert (done.returncode, found["code"]) == (2, "BP-C05")
    assert "bascule preflight --dynamic" in found["message"]
