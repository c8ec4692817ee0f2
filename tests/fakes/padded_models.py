"""A model that pads (`models.masked_mean`), calls of it, and what it answers: by numpy."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import Datatype
from serving.registry.model_config.parsing import parse_config
from serving.registry.version import VersionSpec
from serving.wire.call import CallSpec, InferCall
from serving.wire.input_checks import GivenInput, InputChecks
from serving.wire.padding import Padding
from tests.fakes import models
from tests.fakes.worker_process import version

IDS = TensorSpec(name="input_ids", datatype=Datatype.INT64, shape=(-1, -1))
MASK = TensorSpec(name="attention_mask", datatype=Datatype.INT64, shape=(-1, -1))
HIDDEN = TensorSpec(name="last_hidden_state", datatype=Datatype.FP32, shape=(-1, -1, 4))
EMBEDDING = TensorSpec(name="embedding", datatype=Datatype.FP32, shape=(-1, 4))
INPUTS = (IDS, MASK)
OUTPUTS = (HIDDEN, EMBEDDING)


def declared(
    buckets: str = "8,16",
    axes: str = "input_ids:1,attention_mask:1",
    cut: str = "last_hidden_state:1",
    **more: str,
) -> dict[str, str]:
    """Return the parameters of a configuration; empty ones are left out."""
    given = {"pad_buckets": buckets, "pad_axes": axes, "cut_axes": cut, **more}
    return {name: text for name, text in given.items() if text}


def config_text(parameters: dict[str, str], more: str = "max_batch_size: 64\n") -> str:
    """Return a configuration with these parameters."""
    return more + "".join(
        f'parameters {{ key: "{name}" value {{ string_value: "{text}" }} }}\n'
        for name, text in parameters.items()
    )


def padded_version(
    folder: Path, model: str = "texts", *, more: str = "max_batch_size: 64\n", number: int = 1
) -> VersionSpec:
    """Describe `masked_mean` as a version that pads, as its config.pbtxt has it."""
    parameters = {**declared(), "intra_op_thread_count": "1"}
    policy = parse_config(config_text(parameters, more), model=model).policy
    spec = version(folder, model, models.masked_mean(), number=number)
    return replace(spec, policy=policy)


def texts(rng: np.random.Generator, rows: int, length: int) -> dict[str, Array]:
    """Make up a call's inputs: every token counts."""
    ids = rng.integers(0, 16, (rows, length), np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def answer(inputs: dict[str, Array]) -> tuple[Array, Array]:
    """Return what `masked_mean` gives: last_hidden_state and embedding."""
    mask = inputs["attention_mask"].astype(np.float32)
    hidden = models.TOKENS[inputs["input_ids"]] * mask[..., None]
    return hidden, hidden.sum(1) / np.maximum(mask.sum(1, keepdims=True), 1)


def checks_of(padding: Padding | None, inputs: tuple[TensorSpec, ...] = INPUTS) -> InputChecks:
    """Return the checks of a version's calls."""
    spec = CallSpec(
        model="texts",
        version=1,
        inputs=inputs,
        outputs=OUTPUTS,
        max_batch_rows=64,
        padding=padding,
    )
    return InputChecks(spec)


def decoded(
    checks: InputChecks, arrays: Sequence[Array], inputs: tuple[TensorSpec, ...] = INPUTS
) -> InferCall:
    """Return a call as the codecs decode it."""
    given = [
        GivenInput(spec.name, spec.datatype, array.shape)
        for spec, array in zip(inputs, arrays, strict=True)
    ]
    plan = checks.plan_inputs(given, "")
    data: list[Any] = [array.tobytes() for array in arrays]
    return InferCall(
        id="",
        rows=plan.rows,
        shapes=plan.shapes,
        stack_key=plan.stack_key,
        tensors=checks.take_tensors(plan, data, ""),
        outputs=(),
    )
