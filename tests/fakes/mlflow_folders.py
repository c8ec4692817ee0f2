"""Folders as MLflow saves models: the files that it writes, without MLflow."""

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

SIGNATURE = {
    "inputs": json.dumps(
        [{"name": "x", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 16]}}]
    ),
    "outputs": json.dumps(
        [{"name": "y", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]
    ),
    "params": None,
}
PYTHON_FUNCTION = {
    "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
    "python_version": "3.11.7",
}
REQUIREMENTS = "mlflow==2.14.1\nnumpy==1.26.4\nonnx>=1.15\nonnxruntime==1.17.0\n"


def mlmodel(flavours: Mapping[str, object], **changes: object) -> dict[str, object]:
    """What an MLmodel file says."""
    said: dict[str, object] = {
        "artifact_path": "model",
        "flavors": dict(flavours),
        "mlflow_version": "2.14.1",
        "model_size_bytes": 1234,
        "model_uuid": "2cb018e2588e478a97e626ea187b2c97",
        "run_id": "a692b874a5464d9ea0d822b42fcd0001",
        "signature": SIGNATURE,
        "utc_time_created": "2026-02-17 17:00:59.055824",
    }
    return said | changes


def onnx_flavour(data: str = "model.onnx") -> dict[str, object]:
    """The flavours of a model that was logged with mlflow.onnx."""
    onnx = {"code": None, "data": data, "onnx_version": "1.15.0", "providers": ["CPU"]}
    return {"onnx": onnx, "python_function": {**PYTHON_FUNCTION, "loader_module": "mlflow.onnx"}}


def pytorch_flavour() -> dict[str, object]:
    """The flavours of a model that was logged with mlflow.pytorch."""
    torch = {"code": None, "model_data": "data", "pytorch_version": "2.3.0"}
    loader = {**PYTHON_FUNCTION, "data": "data", "loader_module": "mlflow.pytorch"}
    return {"pytorch": torch, "python_function": loader}


def write_folder(
    folder: Path, said: Mapping[str, object], files: Mapping[str, bytes], *, lock: str = ""
) -> Path:
    """Write a model's folder."""
    folder.mkdir(parents=True)
    (folder / "MLmodel").write_text(yaml.safe_dump(said))
    (folder / "conda.yaml").write_text("name: mlflow-env\n")
    (folder / "python_env.yaml").write_text("python: 3.11.7\n")
    (folder / "requirements.txt").write_text(lock or REQUIREMENTS)
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder
