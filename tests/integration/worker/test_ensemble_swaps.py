"""A real worker's ensembles, while what they are made of is swapped."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from serving.registry.version import ServingPolicy, VersionSpec
from tests.fakes import models
from tests.fakes.ensembles import step
from tests.fakes.worker_process import WorkerProcess, running_worker, version


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerProcess]:
    """A worker that hosts nothing yet."""
    with running_worker(tmp_path) as started:
        yield started


def ensemble(name: str, model: str, number: int) -> VersionSpec:
    """An ensemble of one step, whose tensors are those of its model."""
    inputs = (TensorSpec(name="x", datatype=Datatype.FP32, shape=(16,)),)
    outputs = (TensorSpec(name="y", datatype=Datatype.FP32, shape=(4,)),)
    one = step(model, {"x": "x"}, {"y": "y"}, number)
    policy = ServingPolicy(max_batch_rows=8, inputs=inputs, outputs=outputs, ensemble=(one,))
    return VersionSpec(
        model=name,
        version=1,
        file="",
        format="ensemble",
        size_bytes=0,
        digest=f"{model}:{number}",
        origin="test",
        policy=policy,
    )


def told(lines: list[dict[str, Any]], model: str) -> list[str]:
    """The states that a model's versions went through."""
    return [line["state"] for line in lines if line["model"] == model]


def test_an_ensemble_answers_while_its_model_is_succeeded(
    worker: WorkerProcess, tmp_path: Path
) -> None:
    """The version before stays until the ensembles run the next one, also those of ensembles."""
    a1, a2 = (version(tmp_path, "a", models.tiny(), number=number) for number in (1, 2))
    outer = ensemble("outer", "e", 1)
    worker.apply(a1, ensemble("e", "a", 1), outer)
    lines = worker.apply(a2, ensemble("e", "a", 2), replace(outer, digest="on the new e"))
    assert set(told(lines, "e")) == set(told(lines, "outer")) == {"READY"}
    hosted = {(one["model"], one["version"]) for one in worker.state()["versions"]}
    assert hosted == {("a", 2), ("e", 1), ("outer", 1)}


def test_an_ensemble_whose_next_form_cannot_work_goes_with_its_model(
    worker: WorkerProcess, tmp_path: Path
) -> None:
    """The version that it ran is not kept for its sake."""
    a1, a2 = (version(tmp_path, "a", models.tiny(), number=number) for number in (1, 2))
    worker.apply(a1, ensemble("e", "a", 1))
    lines = worker.apply(a2, ensemble("e", "a", 3))
    assert told(lines, "e")[-1] == "UNAVAILABLE"
    assert "a:1" not in {f"{one['model']}:{one['version']}" for one in worker.state()["versions"]}
