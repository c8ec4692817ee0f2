"""The models as folders to serve: the same weights for every engine, told where to run."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.gpu.cases import MAX_BATCH_ROWS, Case, DeviceKind, ModelName
from benchmarks.models.layout import ModelFolder, write_model
from benchmarks.models.small import dense_graph
from benchmarks.models.small_torch import dense_torch
from benchmarks.models.weights import DenseWeights, large_weights, mid_weights

PLACES: Final[dict[DeviceKind, str]] = {
    "cpu": "instance_group [ { kind: KIND_CPU, count: 1 } ]\n",
    "cuda": "instance_group [ { kind: KIND_GPU, count: 1 } ]\n",
}


def weights_of(model: ModelName) -> DenseWeights:
    """Return the weights that a model has in every engine."""
    return mid_weights() if model == "mid" else large_weights()


def folder_of(case: Case) -> ModelFolder:
    """Make a case's model, with a configuration that names its device."""
    weights = weights_of(case.model)
    made = (
        dense_graph(weights).folder(case.model, MAX_BATCH_ROWS)
        if case.engine == "onnx"
        else dense_torch(case.model, weights)
    )
    return replace(made, config=replace(made.config, extra=PLACES[case.device]))


def write_case(root: Path, case: Case) -> Path:
    """Write a repository with this case's model alone; return it."""
    repository = root / f"{case.model}-{case.engine}-{case.device}" / "models"
    repository.parent.mkdir(parents=True, exist_ok=True)
    write_model(repository, folder_of(case))
    return repository


def file_in(repository: Path, case: Case) -> Path:
    """Return the model's file."""
    suffix = "onnx" if case.engine == "onnx" else "pt"
    return repository / case.model / "1" / f"model.{suffix}"


def input_name(case: Case) -> str:
    """Return what the model calls its rows: TorchScript has no names of its own."""
    return "x" if case.engine == "onnx" else "INPUT__0"
