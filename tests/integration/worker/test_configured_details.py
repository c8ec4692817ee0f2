"""What a configuration says of a model's details is what its calls meet, with a real engine."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from serving.registry.repository import Repository
from serving.registry.version import VersionSpec
from tests.fakes import models
from tests.fakes.worker_process import WorkerProcess, request, running_worker

CONFIG = """
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ 4, 4 ] reshape { shape: [ 16 ] } }
output {
  name: "y" data_type: TYPE_FP32 dims: [ 2, 2 ] reshape { shape: [ 4 ] } label_filename: "y.txt"
}
optimization { graph { level: 2 } }
model_warmup {
  name: "zeros" batch_size: 2
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4, 4 ] zero_data: true } }
}
model_warmup {
  name: "a file" count: 2
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 4, 4 ] input_data_file: "x.bin" } }
}
"""


def model(root: Path, name: str, config: str, *, data_bytes: int = 64) -> VersionSpec:
    """Write a model with labels and warm-up data, and read it."""
    folder = root / "models" / name
    (folder / "1").mkdir(parents=True)
    (folder / "warmup").mkdir()
    (folder / "1" / "model.onnx").write_bytes(models.tiny())
    (folder / "y.txt").write_text("a\nb\nc\nd\n")
    (folder / "warmup" / "x.bin").write_bytes(bytes(data_bytes))
    (folder / "config.pbtxt").write_text(config)
    return Repository(root / "models").scan_model(name).versions[0]


def ask(worker: WorkerProcess, name: str, shape: list[int], **more: object) -> Any:  # noqa: ANN401  whatever the reply says
    """Send one call in JSON."""
    values = np.arange(np.prod(shape), dtype=np.float32) / 8
    tensor = {"name": "x", "datatype": "FP32", "shape": shape, "data": values.tolist()}
    body = json.dumps({"inputs": [tensor], **more}).encode()
    with worker.client() as client:
        reply = client.ask(request(f"/v2/models/{name}/infer", body))
    return reply.json()


def test_reshape_labels_and_warmup_reach_the_calls(tmp_path: Path) -> None:
    """Callers see dims, the model its own shape; classes have names; samples were run."""
    spec = model(tmp_path, "net", CONFIG)

    with running_worker(tmp_path) as worker:
        (*_, ready) = worker.apply(spec)
        plain = ask(worker, "net", [2, 4, 4])
        wrong = ask(worker, "net", [2, 16])
        named = ask(
            worker, "net", [1, 4, 4], outputs=[{"name": "y", "parameters": {"classification": 1}}]
        )

    expected = (np.arange(32, dtype=np.float32) / 8).reshape(2, 16) @ models.WEIGHT + models.BIAS
    assert ready["served"]["inputs"][0]["shape"] == [-1, 4, 4]
    assert "warmed up with 2 configured samples in 3 runs" in ready["served"]["notes"]
    assert plain["outputs"][0]["shape"] == [2, 2, 2]
    assert plain["outputs"][0]["data"] == expected.ravel().tolist()
    assert "Expected [-1,4,4], got [2,16]" in wrong["error"]
    assert named["outputs"][0]["data"][0].split(":")[2] in "abcd"


def test_a_sample_that_fails_fails_the_load(tmp_path: Path) -> None:
    """Warm-up data of a wrong size, and labels that are not there, keep a version from serving."""
    short = model(tmp_path, "short", CONFIG, data_bytes=60)
    unlabelled = model(tmp_path, "unlabelled", CONFIG)
    (tmp_path / "models" / "unlabelled" / "y.txt").unlink()

    with running_worker(tmp_path) as worker:
        last = {line["model"]: line for line in worker.apply(short, unlabelled)}

    assert last["short"]["state"] == last["unlabelled"]["state"] == "UNAVAILABLE"
    assert "model_warmup 'a file' fails: " in last["short"]["reason"]
    assert "Expected 64, got 60" in last["short"]["reason"]
    assert "label_filename: 'y.txt' cannot be read" in last["unlabelled"]["reason"]


def test_changed_labels_are_another_form(tmp_path: Path) -> None:
    """What all versions share belongs to their digest: a change of it reloads them."""
    before = model(tmp_path, "net", CONFIG)
    (tmp_path / "models" / "net" / "y.txt").write_text("one\ntwo\n")

    after = Repository(tmp_path / "models").scan_model("net").versions[0]

    assert after.digest != before.digest
    assert replace(after, digest=before.digest) == before
