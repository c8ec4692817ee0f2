"""`bascule import` and `bascule export`: what comes along, what is listed, what is refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from protos.generated import model_config_pb2 as pb
from serving.cli.main import main
from serving.registry.bundles.bundle import read_bundle
from tests.fakes import models

CONFIG = """
name: "{name}"
backend: "onnxruntime"
max_batch_size: 8
input {{ name: "x" data_type: TYPE_FP32 dims: [ 16 ] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" }}
version_policy {{ all {{}} }}
instance_group {{ count: 2 kind: KIND_CPU }}
dynamic_batching {{
  preferred_batch_size: 4 max_queue_delay_microseconds: 100 preserve_ordering: true
}}
parameters {{ key: "intra_op_thread_count" value {{ string_value: "1" }} }}
parameters {{ key: "other" value {{ string_value: "x" }} }}
optimization {{ priority: PRIORITY_MAX }}
response_cache {{ enable: true }}
model_warmup {{
  name: "w"
  inputs {{ key: "x" value {{ data_type: TYPE_FP32 dims: [ 16 ] input_data_file: "x.bin" }} }}
}}
"""
LABELS = "zero\none\ntwo\nthree\n"


@pytest.fixture(name="home", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of this test, named by the environment."""
    home = tmp_path_factory.mktemp("h")
    monkeypatch.setenv("BASCULE_HOME", str(home))
    return home


ENSEMBLE = """
input {{ name: "x" data_type: TYPE_FP32 dims: [ 4 ] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [ 4 ] }}
ensemble_scheduling {{
  step {{
    model_name: "good"
    input_map {{ key: "x" value: "x" }}
    output_map {{ key: "y" value: "y" }}
  }}
}}
"""


def add(repository: Path, name: str, *versions: str, config: str = CONFIG) -> Path:
    """Write a model in Triton's layout whose weights lie in a second file."""
    model, weights = models.external("model.weights")
    for version in versions:
        (repository / name / version).mkdir(parents=True)
        (repository / name / version / "model.onnx").write_bytes(model)
        (repository / name / version / "model.weights").write_bytes(weights)
    (repository / name / "config.pbtxt").write_text(config.format(name=name))
    (repository / name / "labels.txt").write_text(LABELS)
    (repository / name / "warmup").mkdir()
    (repository / name / "warmup" / "x.bin").write_bytes(bytes(64))
    return repository / name


def run(*arguments: str) -> tuple[int, Any]:
    """Run a command with --json in a process of its own: its status, and what it printed."""
    code = "from serving.cli.main import main; main()"
    argv = (sys.executable, "-c", code, *arguments, "--json")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout or "null") or done.stderr


def config_of(folder: Path) -> pb.ModelConfig:
    """Read a configuration as Triton does."""
    message = pb.ModelConfig()
    text_format.Parse((folder / "config.pbtxt").read_text(), message)
    return message


def test_a_repository_comes_back_as_it_was(tmp_path: Path) -> None:
    """Import and export keep bytes and every configured field; the losses are those listed."""
    source = add(tmp_path / "triton", "net", "1", "3")

    status, said = run("import", str(tmp_path / "triton"), "-o", str(tmp_path / "bundles"))

    assert status == 0
    assert [(one["model"], one["version"]) for one in said["imported"]] == [("net", 1), ("net", 3)]
    assert [loss.split(":")[0] for loss in said["imported"][0]["losses"]] == [
        "optimization priority",
        "parameters other",
        "dynamic_batching preserve_ordering",
    ]
    bundle = read_bundle(tmp_path / "bundles" / "net-3")
    assert {file.path for file in bundle.manifest.files} >= {
        "labels.txt",
        "model.onnx",
        "model.weights",
        "warmup/x.bin",
    }
    for number in ("1", "3"):
        status, said = run(
            "export", str(tmp_path / f"bundles/net-{number}"), "-o", str(tmp_path / "back")
        )
        lost = {loss.split(":")[0] for loss in said["losses"]}
        assert status == 0
        assert lost - {"memory"} == {
            "golden",
            "tolerance",
            "card",
            "packing",
        }  # not always measured
    back = tmp_path / "back" / "net"
    names = ["config.pbtxt", "labels.txt", "warmup/x.bin"]
    names += [f"{v}/{file}" for v in "13" for file in ("model.onnx", "model.weights")]
    found = [path.relative_to(back).as_posix() for path in back.rglob("*") if path.is_file()]
    assert sorted(found) == sorted(names)
    assert all((back / n).read_bytes() == (source / n).read_bytes() for n in names[1:])
    before, after = config_of(source), config_of(back)
    fields = [field.name for field, _ in before.ListFields()]
    assert {n: getattr(after, n) for n in fields} == {n: getattr(before, n) for n in fields}
    more = {field.name for field, _ in after.ListFields()} - set(fields)
    assert more == {"platform", "default_model_filename"}


def test_one_bad_model_does_not_stop_the_others(tmp_path: Path) -> None:
    """Each model that cannot be imported is listed with its reason; the status tells."""
    repository = tmp_path / "triton"
    add(repository, "good", "1")
    add(repository, "ensemble", "1", config=ENSEMBLE)
    add(repository, "python", "1", config='backend: "python"')
    add(repository, "broken", "1", config="nonsense {{")
    add(repository, "lost", "1")
    (repository / "lost/1/model.weights").unlink()
    (repository / "empty").mkdir()
    add(repository, "chosen", "1", "2", config="version_policy {{ latest {{ num_versions: 1 }} }}")
    (repository / "chosen" / "readme.md").write_text("hello")

    status, said = run("import", str(repository), "-o", str(tmp_path / "bundles"))

    assert status == 1
    assert [one["model"] for one in said["imported"]] == ["chosen", "good"]
    assert said["imported"][0]["losses"] == [
        "version 1: version_policy does not choose it",
        "labels.txt: not imported, it belongs to no version",
        "readme.md: not imported, it belongs to no version",
        "warmup: not imported, it belongs to no version",
    ]
    reasons = {one["model"]: one["reason"] for one in said["refused"]}
    assert reasons.keys() == {"ensemble", "python", "broken", "lost", "empty"}
    assert "an ensemble has no model file" in reasons["ensemble"]
    assert "backend 'python' is not served" in reasons["python"]
    assert "no model configuration" in reasons["broken"]
    assert "model.weights" in reasons["lost"]
    assert "holds no version" in reasons["empty"]
    assert sorted(path.name for path in (tmp_path / "bundles").iterdir()) == ["chosen-2", "good-1"]


def test_nothing_outside_the_folder_is_taken(tmp_path: Path) -> None:
    """What leads out of the imported folder is refused: linked files, labels and folders."""
    secret = tmp_path / "secret.txt"
    secret.write_text("x")
    repository = tmp_path / "triton"
    (add(repository, "file", "1") / "1" / "more.bin").symlink_to(secret)
    labels = add(repository, "label", "1") / "labels.txt"
    labels.unlink()
    labels.symlink_to(secret)
    add(repository, "climb", "1", config=CONFIG.replace("labels.txt", "../../secret.txt"))
    (add(repository, "folder", "1") / "1" / "inner").symlink_to(tmp_path)

    status, said = run("import", str(repository), "-o", str(tmp_path / "bundles"))

    assert (status, said["imported"]) == (1, [])
    told = {one["model"]: one["reason"] for one in said["refused"]}
    assert "leads out of" in told["file"]
    assert "leads out of" in told["label"]
    assert "inside the model's folder" in told["climb"]
    assert "linked folder" in told["folder"]


def test_a_link_in_a_circle_stops_no_other_model(tmp_path: Path) -> None:
    """It leads nowhere: that model is refused with the reason, and the rest is imported."""
    repository = tmp_path / "triton"
    add(repository, "good", "1")
    labels = add(repository, "circle", "1") / "labels.txt"
    labels.unlink()
    labels.symlink_to("labels.txt")

    status, said = run("import", str(repository), "-o", str(tmp_path / "bundles"))

    assert (status, [one["model"] for one in said["imported"]]) == (1, ["good"])
    assert "leads nowhere" in said["refused"][0]["reason"]


def test_imported_versions_can_be_pushed_and_exported(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--push puts them into the registry, and they leave it by their name."""
    add(tmp_path / "triton", "net", "2")
    status, said = run("import", str(tmp_path / "triton" / "net"), "--push")
    assert status == 0
    assert Path(said["imported"][0]["bundle"]).is_relative_to(home / "registry")

    with pytest.raises(SystemExit) as ended:
        main(["export", "net", "-o", str(tmp_path / "out")])

    assert ended.value.code == 0
    assert (tmp_path / "out/net/2/model.weights").is_file()
    assert "net:2" in capsys.readouterr().out
    status, said = run("export", "net:2", "-o", str(tmp_path / "out"))
    assert status == 1
    assert "exists: export to another folder" in said
    status, said = run("export", "other:1", "-o", str(tmp_path / "out"))
    assert status == 1
    assert "nothing of 'other' was pushed" in said


def test_versions_of_another_configuration_are_not_mixed(tmp_path: Path) -> None:
    """Triton has one configuration for all versions: another one is refused, nothing is lost."""
    for number, rows in ((1, 8), (2, 16)):
        folder = tmp_path / str(number)
        add(folder, "net", str(number), config=CONFIG.replace("size: 8", f"size: {rows}"))
        assert run("import", str(folder), "-o", str(tmp_path / "bundles"))[0] == 0
    assert run("export", str(tmp_path / "bundles/net-1"), "-o", str(tmp_path / "out"))[0] == 0

    status, said = run("export", str(tmp_path / "bundles/net-2"), "-o", str(tmp_path / "out"))

    assert status == 1
    assert "one configuration for all versions" in said
    assert not (tmp_path / "out/net/2").exists()


def test_a_folder_of_nothing_is_told(tmp_path: Path) -> None:
    """An empty folder imports nothing, which is a failure."""
    status, said = run("import", str(tmp_path), "-o", str(tmp_path / "bundles"))

    assert (status, said["imported"], said["refused"]) == (1, [], [])
