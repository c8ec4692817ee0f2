"""The torch twins of `tiny` and `mid`, and one that is cut in the middle (`bad_ts_truncated`).

Torch archives record source positions, so their bytes can differ between two runs; what they
compute does not.
"""

import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import torch
from torch import nn

from benchmarks.models.layout import Config, ModelFolder, Tensor
from benchmarks.models.weights import (
    ANSWER_COLUMNS,
    MID_LAYERS,
    ROW_COLUMNS,
    Array,
    DenseWeights,
    mid_weights,
    tiny_bias,
    tiny_weight,
)

BATCH_ROWS: Final = 64
MAX_EXPORTED_ROWS: Final = 4096
# torch leaves these untyped
script = cast("Callable[..., Any]", torch.jit.script)
save_script = cast("Callable[..., None]", torch.jit.save)


class Tiny(nn.Module):
    """x @ W + b."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(tiny_weight()), requires_grad=False)
        self.bias = nn.Parameter(torch.from_numpy(tiny_bias()), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (rows, 16) to (rows, 4)."""
        return x @ self.weight + self.bias


def torch_models() -> Iterator[ModelFolder]:
    """Yield the torch twins; the last one is broken."""
    tiny = _scripted(Tiny())
    yield ModelFolder(name="tiny_ts", config=_config(16, 4), files={"1/model.pt": tiny})
    yield dense_torch("mid_ts", mid_weights())
    yield _exported()
    half = {"1/model.pt": tiny[: len(tiny) // 2]}
    yield ModelFolder(name="bad_ts_truncated", config=_config(16, 4), files=half)


def dense_torch(name: str, weights: DenseWeights) -> ModelFolder:
    """Script the twin of `mid`, or of its like with other weights."""
    files = {"1/model.pt": _scripted(_dense(weights))}
    return ModelFolder(name=name, config=_config(ROW_COLUMNS, ANSWER_COLUMNS), files=files)


def _dense(weights: DenseWeights) -> nn.Sequential:
    linear = {name: _linear(*pair) for name, pair in weights.items()}
    steps = [step for name in MID_LAYERS for step in (linear[name], nn.ReLU())]
    return nn.Sequential(*steps[:-1])


def _linear(weight: Array, bias: Array) -> nn.Linear:
    layer = nn.Linear(*weight.shape)
    layer.weight.data = torch.from_numpy(weight.T.copy())
    layer.bias.data = torch.from_numpy(bias)
    return layer


def _scripted(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the successor of what we serve here
        save_script(script(module.eval()), buffer)
    return buffer.getvalue()


def _exported() -> ModelFolder:
    rows = torch.export.Dim("N", min=1, max=MAX_EXPORTED_ROWS)
    program = torch.export.export(
        Tiny().eval(), (torch.zeros(2, 16),), dynamic_shapes={"x": {0: rows}}
    )
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    files = {"1/model.pt2": buffer.getvalue()}
    return ModelFolder(name="tiny_pt2", config=_config(16, 4, "x", "y"), files=files)


def _config(
    columns_in: int, columns_out: int, name_in: str = "INPUT__0", name_out: str = "OUTPUT__0"
) -> Config:
    """TorchScript knows neither names nor shapes of its outputs: these are Triton's names."""
    return Config(
        backend="pytorch",
        max_batch_rows=BATCH_ROWS,
        inputs=(Tensor(name=name_in, datatype="FP32", dims=(columns_in,)),),
        outputs=(Tensor(name=name_out, datatype="FP32", dims=(columns_out,)),),
    )
