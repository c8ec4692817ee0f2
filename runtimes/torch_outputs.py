"""Finds out by running what a TorchScript module returns, where its configuration does not say.

Two runs on made-up inputs of different sizes: a size that differs between them is free. Nothing is
guessed: a module that cannot be run so, or keeps state that a run would change, is refused.
"""

from collections.abc import Sequence
from typing import Final

import torch

from runtimes.contract import TensorSpec
from runtimes.errors import EngineError, InvalidArgumentError, ModelLoadError
from runtimes.generated_feeds import FREE_SIZES, make_feeds
from runtimes.torch_runs import TorchModel
from runtimes.torch_tensors import DATATYPES

RUNS: Final = 2
LEAST_ROWS: Final = 2


def outputs_by_running(model: TorchModel) -> tuple[TensorSpec, ...]:
    """Return the outputs of a loaded module, named OUTPUT__0, OUTPUT__1, ….

    Args:
        model: Its inputs are bound; its outputs do not matter.

    Raises:
        ModelLoadError: No two runs succeeded, or they did not return alike; the message says why.
    """
    seen: list[list[torch.Tensor]] = []
    reason = "its inputs are too large to make up"
    for free_size in FREE_SIZES:
        rows, seed = LEAST_ROWS + len(seen), len(seen)
        feeds = make_feeds(model.inputs, rows=rows, free_size=free_size, seed=seed)
        if feeds is None:
            continue
        try:
            seen.append(_tensors(model.returned(feeds)))
        except (InvalidArgumentError, EngineError) as error:
            reason = error.message
        if len(seen) == RUNS:
            return _specs(*seen)
    raise ModelLoadError(f"it refuses made-up inputs ({reason})")


def _tensors(returned: Sequence[object]) -> list[torch.Tensor]:
    tensors = [one for one in returned if isinstance(one, torch.Tensor)]
    if len(tensors) != len(returned):
        raise EngineError("not all of its results are tensors")
    return tensors


def _specs(first: list[torch.Tensor], second: list[torch.Tensor]) -> tuple[TensorSpec, ...]:
    if len(first) != len(second):
        raise ModelLoadError(f"it returned {len(first)} tensors, and then {len(second)}")
    return tuple(_spec(place, *pair) for place, pair in enumerate(zip(first, second, strict=True)))


def _spec(place: int, one: torch.Tensor, other: torch.Tensor) -> TensorSpec:
    datatype = DATATYPES.get(one.dtype)
    if datatype is None or one.dtype != other.dtype:
        raise ModelLoadError(f"result {place} is {one.dtype}, and then {other.dtype}")
    if one.dim() != other.dim():
        raise ModelLoadError(f"result {place} has {one.dim()} dimensions, and then {other.dim()}")
    sizes = zip(one.shape, other.shape, strict=True)
    shape = tuple(size if size == another else -1 for size, another in sizes)
    return TensorSpec(name=f"OUTPUT__{place}", datatype=datatype, shape=shape)
