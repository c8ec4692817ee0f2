"""`bascule facts` and `bascule profiles`, as people and programs see them."""

import json
from pathlib import Path

import pytest

from runtimes.errors import InvalidArgumentError
from runtimes.facts_json import facts_json
from serving.cli.facts import engines_of, facts_rows
from serving.cli.main import main
from serving.registry.preflight.facts_file import read_facts
from tests.fakes.node_facts import A100_MIG_NODE, CPU_NODE, T4_NODE


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path))
    return tmp_path


def run(*arguments: str) -> None:
    """Run a command that succeeds."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0


def test_facts_are_written_for_other_nodes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file of facts is what --json prints, and is read back."""
    file = home / "node.json"

    run("facts", "--engines", "none", "--json", "-o", str(file))

    printed = json.loads(capsys.readouterr().out)
    assert json.loads(file.read_text())["cpu_model"] == printed["cpu_model"]
    assert read_facts(file).cpu_count == printed["cpu_count"]


def test_a_node_reads_in_a_few_lines() -> None:
    """People see memory, GPUs with what keeps them from being used, and engines."""
    lines = list(facts_rows(A100_MIG_NODE))
    gpus = [text for name, text in lines if name == "gpu 0"]

    assert "cut into MIG instances" in gpus[0]
    assert gpus[1].startswith("NVIDIA A100-SXM4-40GB MIG 3g.20gb, 21 GB")
    assert "serves CUDA up to 13.0" in dict(lines)["driver"]
    assert "opset up to 26, IR up to 13" in dict(lines)["onnxruntime"]
    assert dict(facts_rows(CPU_NODE))["gpus"] == "none: NVML Shared Library Not Found"


@pytest.mark.parametrize(
    ("text", "engines"),
    [("onnx,torch", {"onnx", "torch"}), ("onnx", {"onnx"}), ("none", set()), ("", set())],
)
def test_engines_are_chosen_by_name(text: str, engines: set[str]) -> None:
    """Both, one or none of the engines is asked."""
    assert engines_of(text) == engines


def test_an_unknown_engine_is_refused() -> None:
    """A name that is no engine's is told, with those that are."""
    with pytest.raises(InvalidArgumentError, match=r"'jax'.*onnx, torch"):
        engines_of("onnx,jax")


def test_profiles_say_which_fit(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For another node's facts, each profile fits or has its reasons; one's own are among them."""
    (home / "profiles").mkdir()
    (home / "profiles" / "own.yaml").write_text("large: {device: cuda, min_gpu_memory: 40GiB}")
    (home / "t4.json").write_text(facts_json(T4_NODE))

    run("profiles", "--facts", str(home / "t4.json"), "--json")

    found = {entry["profile"]["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert found["cuda-turing"]["fits"]
    assert not found["large"]["shipped"]
    assert [one["requirement"] for one in found["large"]["misfits"]] == ["gpu_memory"]


def test_one_profile_is_shown_whole(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All fields of a profile, and each requirement that the node misses with what to do."""
    (home / "t4.json").write_text(facts_json(T4_NODE))

    run("profiles", "cuda-hopper", "--facts", str(home / "t4.json"))

    shown = capsys.readouterr().out
    assert "min_gpu_memory_bytes    70 GiB" in shown
    assert "Tesla T4 has 7.5" in shown


def test_the_nearest_profile_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is nearly right gets the right one as an answer."""
    with pytest.raises(SystemExit) as ended:
        main(["profiles", "cuda-amper"])

    assert ended.value.code == 1
    assert "did you mean cuda-ampere?" in capsys.readouterr().err
