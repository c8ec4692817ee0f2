"""`bascule inspect`: what bundles and raw model files say of themselves."""

import json
from pathlib import Path

import pytest

from serving.cli.main import main
from tests.fakes import models


def run(*arguments: str) -> int:
    """Run a command line and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def bundle(folder: Path, *options: str) -> str:
    """Pack a small model, and return the bundle's folder."""
    (folder / "tiny.onnx").write_bytes(models.tiny())
    out = str(folder / "bundle")
    names = ("--name", "m", "--version", "1", "-o", out, "--code-revision", "abc")
    assert run("pack", str(folder / "tiny.onnx"), *names, *options) == 0
    return out


def test_a_bundle_tells_all_that_is_known_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tensors, operators, files by role, tolerances, lineage, environment and signatures."""
    (tmp_path / "labels.txt").write_text("a")
    folder = bundle(tmp_path, "--include", str(tmp_path / "labels.txt"), "--licence", "MIT")
    capsys.readouterr()

    status = run("inspect", folder)

    out = capsys.readouterr().out
    assert status == 0
    for text in (
        "m:1  onnx",
        "x FP32[-1,16]",
        "ONNX IR 8, opset ai.onnx 17",
        "1 nodes: Gemm 1",
        "model.onnx  379 B  model",
        "labels.txt  1 B  beside the model",
        "golden/0.npz  556 B  golden sample",
        "y: bitwise in this environment, rtol:0.001,atol:1e-05 elsewhere",
        "code         abc",
        "licence      MIT",
        "signed by    nobody",
    ):
        assert text in out


def test_roles_and_fingerprint_are_json_for_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--json` has the manifest, the files' roles and what the model file says."""
    folder = bundle(tmp_path)
    capsys.readouterr()

    run("inspect", folder, "--json")

    found = json.loads(capsys.readouterr().out)
    assert found["roles"]["card.md"] == "model card"
    assert found["manifest"]["max_batch_rows"] == 64
    assert found["model"]["opsets"] == {"": 17}
    assert (len(found["fingerprint"]), found["signed_by"]) == (64, [])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cm.onnx", models.column_mean(), "2 nodes: ReduceMean 1, Sub 1"),
        ("s.onnx", models.sequence_output(), "which is not served"),
        ("x.onnx", models.garbage(), "it cannot be read"),
    ],
    ids=["onnx", "sequence", "garbage"],
)
def test_a_model_file_is_read_and_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, message: str
) -> None:
    """A raw model file, sound or not, is told about."""
    (tmp_path / name).write_bytes(content)

    status = run("inspect", str(tmp_path / name))

    assert (status, message in capsys.readouterr().out) == (0, True)


def test_torchscript_names_its_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A TorchScript archive is told by its file version and weights."""
    from tests.fakes.torch_models import Tiny  # noqa: PLC0415  torch takes seconds

    (tmp_path / "t.pt").write_bytes(models.torchscript(Tiny()))

    run("inspect", str(tmp_path / "t.pt"))

    out = capsys.readouterr().out
    assert "t.pt  torchscript" in out
    assert "TorchScript, version " in out


def test_what_is_neither_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence, exit status 1."""
    assert run("inspect", "nothing") == 1
    assert "nothing is neither a file, a bundle's folder nor MODEL" in capsys.readouterr().err
