"""The MiniLM sentence encoder in plain torch: token ids and a mask in, one unit vector per row out.

Written so that the three exporters take it as it is: every size is a constant or read off a tensor,
and the modules are named for the weights that they get. `transformers` is not needed.
"""

import json
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from torch import nn

Array = np.ndarray[Any, np.dtype[Any]]

WIDTH: Final = 384
WIDE: Final = 1536
LAYERS: Final = 6
VOCABULARY: Final = 30_522
MAX_TOKENS: Final = 512
NORM_EPSILON: Final = 1e-12
SAFETENSORS_TYPES: Final[Mapping[str, str]] = MappingProxyType(
    {"F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4"}
)
# The checkpoint's names for a part, and ours; longer ones first, as one is the end of another.
RENAMED: Final = (
    ("attention.output.LayerNorm", "mixed_norm"),
    ("attention.output.dense", "mixed"),
    ("attention.self.", ""),
    ("intermediate.dense", "wide"),
    ("output.LayerNorm", "last_norm"),
    ("output.dense", "narrow"),
    ("encoder.layer", "layers"),
    ("embeddings.LayerNorm", "norm"),
    ("embeddings.word_embeddings", "word"),
    ("embeddings.position_embeddings", "position"),
    ("embeddings.token_type_embeddings", "kind"),
)


class Layer(nn.Module):
    """One transformer layer."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)
        self.key = nn.Linear(WIDTH, WIDTH)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.mixed = nn.Linear(WIDTH, WIDTH)
        self.mixed_norm = nn.LayerNorm(WIDTH, eps=NORM_EPSILON)
        self.wide = nn.Linear(WIDTH, WIDE)
        self.narrow = nn.Linear(WIDE, WIDTH)
        self.last_norm = nn.LayerNorm(WIDTH, eps=NORM_EPSILON)

    def heads(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (rows, tokens, width) to (rows, 12 heads, tokens, head width 32)."""
        return x.reshape(x.shape[0], x.shape[1], 12, 32).transpose(1, 2)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Shape (rows, tokens, width) in and out; `bias` is -1e9 at masked tokens."""
        scores = self.heads(self.query(x)) @ self.heads(self.key(x)).transpose(2, 3)
        shares = torch.softmax(scores / 32**0.5 + bias, dim=-1)
        mixed = (shares @ self.heads(self.value(x))).transpose(1, 2)
        x = self.mixed_norm(x + self.mixed(mixed.reshape(x.shape[0], x.shape[1], 384)))
        narrow = self.narrow(torch.nn.functional.gelu(self.wide(x)))
        result: torch.Tensor = self.last_norm(x + narrow)
        return result


class MiniLM(nn.Module):
    """Embeddings, six layers, the mean over the tokens that are not masked, length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.word = nn.Embedding(VOCABULARY, WIDTH)
        self.position = nn.Embedding(MAX_TOKENS, WIDTH)
        self.kind = nn.Embedding(2, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=NORM_EPSILON)
        self.layers = nn.ModuleList([Layer() for _ in range(LAYERS)])

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Two INT64 tensors of shape (rows, tokens) to FP32 of shape (rows, 384)."""
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        kinds = self.kind(torch.zeros_like(input_ids))
        x = self.norm(self.word(input_ids) + kinds + self.position(places))
        keep = attention_mask.to(x.dtype)
        bias = (1.0 - keep).reshape(keep.shape[0], 1, 1, keep.shape[1]) * -1e9
        for layer in self.layers:
            x = layer(x, bias)
        keep = keep.unsqueeze(-1)
        mean = (x * keep).sum(1) / keep.sum(1).clamp(min=1e-9)
        unit: torch.Tensor = mean / (mean * mean).sum(1, keepdim=True).sqrt().clamp(min=1e-12)
        return unit


def load_minilm(safetensors: bytes) -> MiniLM:
    """Build the encoder with the weights of a checkpoint."""
    weights = {
        _renamed(name): torch.from_numpy(value.copy())
        for name, value in _tensors(safetensors).items()
        if not name.startswith("pooler.") and not name.endswith("position_ids")
    }
    encoder = MiniLM().eval().requires_grad_(requires_grad=False)
    encoder.load_state_dict(weights)
    return encoder


def _renamed(name: str) -> str:
    for theirs, ours in RENAMED:
        name = name.replace(theirs, ours)
    return name


def _tensors(payload: bytes) -> dict[str, Array]:
    """Read a safetensors file: 8 bytes with the header's length, JSON, raw little-endian data."""
    (header_bytes,) = struct.unpack_from("<Q", payload)
    header = json.loads(payload[8 : 8 + header_bytes])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = (8 + header_bytes + offset for offset in entry["data_offsets"])
        flat = np.frombuffer(payload[start:end], SAFETENSORS_TYPES[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"])
    return tensors
