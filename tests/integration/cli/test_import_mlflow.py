"""`bascule import` of models that MLflow saved: ONNX and TorchScript come along, pickles do not."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from serving.registry.bundles.bundle import read_bundle
from tests.fakes import models
from tests.fakes.mlflow_folders import mlmodel, onnx_flavour, pytorch_flavour, write_folder


@pytest.fixture(name="home", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of this test, named by the environment."""
    home = tmp_path_factory.mktemp("h")
    monkeypatch.setenv("BASCULE_HOME", str(home))
    return home


def run(*arguments: str) -> tuple[int, Any]:
    """Run `bascule import --json` in a process of its own: its status, and what it printed."""
    code = "from serving.cli.main import main; main()"
    argv = (sys.executable, "-c", code, "import", *arguments, "--json")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout or "null") or done.stderr


class Doubler(torch.nn.Module):
    """y = x + x."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum of x and itself."""
        return x + x


def test_an_onnx_model_becomes_a_bundle(tmp_path: Path) -> None:
    """Model, external data, pins and origin come along; what does not is listed."""
    model, weights = models.external("a9f3.data")
    files = {"model.onnx": model, "a9f3.data": weights, "input_example.json": b"{}"}
    folder = write_folder(tmp_path / "fraud", mlmodel(onnx_flavour()), files)

    status, said = run(
        str(folder), "-o", str(tmp_path), "--version", "4", "--dependencies", "isolate"
    )

    assert status == 0, said
    manifest = read_bundle(tmp_path / "fraud-4").manifest
    assert {file.path for file in manifest.files} >= {
        "a9f3.data",
        "model.onnx",
        "requirements.lock",
    }
    assert manifest.requirements.dependencies == "isolate"
    lock = tmp_path / "fraud-4" / manifest.requirements.lock_file
    assert lock.read_text() == "numpy==1.26.4\nonnxruntime==1.17.0\n"
    assert manifest.lineage.run_id == "a692b874a5464d9ea0d822b42fcd0001"
    assert manifest.lineage.source_id == "mlflow:2cb018e2588e478a97e626ea187b2c97"
    assert str(manifest.lineage.source_created_utc) == "2026-02-17 17:00:59.055824+00:00"
    assert said["imported"][0]["losses"] == [
        "flavour python_function: not imported",
        "MLmodel artifact_path: not used",
        "MLmodel model_size_bytes: not used",
        "requirements.txt line 3: 'onnx>=1.15' leaves the version open: write name==version",
        "requirements.txt line 1: mlflow is for MLflow's own loaders",
        "conda.yaml: not imported",
        "input_example.json: not imported",
        "python_env.yaml: not imported",
    ]


def test_a_signature_that_the_model_denies_is_told(tmp_path: Path) -> None:
    """The engine's word holds; where the signature says something else, both are listed."""
    spec = '[{"name": "x", "type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}]'
    said = mlmodel(onnx_flavour(), signature={"inputs": spec, "outputs": spec.replace("x", "z", 1)})
    folder = write_folder(tmp_path / "net", said, {"model.onnx": models.tiny()})

    status, said = run(str(folder), "-o", str(tmp_path / "out"))

    assert status == 0
    assert said["imported"][0]["losses"][-2:] == [
        "signature of x: FP64[-1], and the model has FP32[-1, 16]",
        "signature of z: FP64[-1], and the model has none",
    ]


def test_a_pickle_is_refused_and_never_opened(tmp_path: Path) -> None:
    """A pickle is refused with what to do instead; what it would do has not happened."""
    proof = tmp_path / "it ran"

    harm = f"cposix\nsystem\n(S'touch \"{proof}\"'\ntR.".encode()
    data = {"data/model.pth": harm, "data/pickle_module_info.txt": b"pickle"}
    write_folder(tmp_path / "all" / "net", mlmodel(pytorch_flavour()), data)
    write_folder(tmp_path / "all" / "fine", mlmodel(onnx_flavour()), {"model.onnx": models.tiny()})

    status, said = run(str(tmp_path / "all"), "-o", str(tmp_path / "out"))

    assert status == 1
    assert [one["model"] for one in said["imported"]] == ["fine"]
    (refused,) = said["refused"]
    assert (refused["model"], "is a pickle" in refused["reason"]) == ("net", True)
    assert "mlflow.onnx" in refused["reason"]
    assert not proof.exists()


def test_torchscript_in_a_pytorch_model_is_served(tmp_path: Path) -> None:
    """MLflow saves a scripted module as model.pth: told by its content, with the signature."""
    content = models.torchscript(Doubler())
    files = {"data/model.pth": content}
    folder = write_folder(tmp_path / "net", mlmodel(pytorch_flavour()), files)
    spec = '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]'
    said = mlmodel(pytorch_flavour(), signature={"inputs": spec, "outputs": spec})
    (folder / "MLmodel").write_text(json.dumps(said))

    status, said = run(str(folder), "-o", str(tmp_path / "out"))

    assert status == 0, said
    bundle = read_bundle(tmp_path / "out" / "net-1")
    assert bundle.manifest.format == "torchscript"
    assert (bundle.folder / "model.pt").read_bytes() == content
    assert 'name: "INPUT__0"' in bundle.manifest.config


@pytest.mark.parametrize("path", ["../secret.onnx", "/etc/passwd", "a/../../secret.onnx", ".x"])
def test_no_path_leads_out_of_the_folder(tmp_path: Path, path: str) -> None:
    """A file outside of the model's folder is never taken, whatever MLmodel says."""
    (tmp_path / "secret.onnx").write_bytes(models.tiny())
    folder = write_folder(tmp_path / "net", mlmodel(onnx_flavour(path)), {})

    status, said = run(str(folder), "-o", str(tmp_path / "out"))

    assert status == 1
    assert f"MLmodel names '{path}'" in said["refused"][0]["reason"]


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    """Neither does a link, be it the model or a file beside it."""
    (tmp_path / "secret.onnx").write_bytes(models.tiny())
    first = write_folder(tmp_path / "all" / "one", mlmodel(onnx_flavour()), {})
    (first / "model.onnx").symlink_to(tmp_path / "secret.onnx")
    files = {"model.onnx": models.tiny()}
    second = write_folder(tmp_path / "all" / "two", mlmodel(onnx_flavour()), files)
    (second / "more.data").symlink_to(tmp_path / "secret.onnx")

    status, said = run(str(tmp_path / "all"), "-o", str(tmp_path / "out"))

    assert (status, said["imported"]) == (1, [])
    assert all("leads out of" in one["reason"] for one in said["refused"])


def test_a_pushed_model_gets_the_next_number(tmp_path: Path, home: Path) -> None:
    """Without a number, --push chooses it; the same content is the same version again."""
    one = write_folder(
        tmp_path / "1" / "net", mlmodel(onnx_flavour()), {"model.onnx": models.tiny()}
    )
    two = write_folder(
        tmp_path / "2" / "net", mlmodel(onnx_flavour()), {"model.onnx": models.column_mean()}
    )

    found = [run(str(folder), "--push") for folder in (one, two, one)]

    assert [said["imported"][0]["version"] for _, said in found] == [1, 2, 1]
    assert all(Path(said["imported"][0]["bundle"]).is_relative_to(home) for _, said in found)


def test_a_model_without_a_name_is_asked_for_it(tmp_path: Path) -> None:
    """MLflow calls most folders `model`: that is no name to be served under."""
    folder = write_folder(
        tmp_path / "model", mlmodel(onnx_flavour()), {"model.onnx": models.tiny()}
    )

    status, said = run(str(folder), "-o", str(tmp_path / "out"))
    assert (status, "--name" in said["refused"][0]["reason"]) == (1, True)
    status, said = run(str(folder), "-o", str(tmp_path / "out"), "--name", "fraud")
    assert (status, said["imported"][0]["model"]) == (0, "fraud")


@pytest.mark.parametrize(("field", "most"), [("run_id", 200), ("model_uuid", 393)])
def test_an_id_that_no_bundle_keeps_stops_no_other_model(
    tmp_path: Path, field: str, most: int
) -> None:
    """It is refused by its name, and the models beside it are imported."""
    for name, length in (("longest", most), ("longer", most + 1)):
        said = mlmodel(onnx_flavour(), **{field: "r" * length})
        write_folder(tmp_path / "saved" / name, said, {"model.onnx": models.tiny()})

    status, found = run(str(tmp_path / "saved"), "-o", str(tmp_path / "bundles"))

    assert (status, [one["model"] for one in found["imported"]]) == (1, ["longest"])
    assert f"{field}: String should have at most {most}" in found["refused"][0]["reason"]


def test_names_of_a_signature_are_read_in_any_script(tmp_path: Path) -> None:
    """What does not fit is the name, which reaches the model whole, and not how it is written."""
    spec = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}
    signature = {"inputs": json.dumps([{"name": "größe", **spec}]), "outputs": json.dumps([spec])}
    said = mlmodel(pytorch_flavour(), signature=signature)
    files = {"data/model.pth": models.torchscript(Doubler())}
    folder = write_folder(tmp_path / "sizes", said, files)

    status, found = run(str(folder), "-o", str(tmp_path))

    assert status == 1
    assert "input 'größe' fits no argument of forward" in found["refused"][0]["reason"]
