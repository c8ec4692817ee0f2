"""A model as a folder in Triton's layout: its files, its `config.pbtxt`, and how they get on disk.

A folder appears whole: it is written outside the repository and moved in, so a server that polls
never sees half a model.
"""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An input or output as a configuration describes it: without the batch dimension."""

    name: str
    datatype: str
    dims: tuple[int, ...]
    label_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What `config.pbtxt` says of a model."""

    backend: str
    max_batch_rows: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    extra: str = ""
    """More protobuf text, as it is."""

    def text(self, name: str) -> str:
        """Return the protobuf text for a model of this name."""
        lines = [
            f'name: "{name}"',
            f'backend: "{self.backend}"',
            f"max_batch_size: {self.max_batch_rows}",
            *(_tensor_text("input", tensor) for tensor in self.inputs),
            *(_tensor_text("output", tensor) for tensor in self.outputs),
        ]
        return "\n".join(lines) + "\n" + self.extra


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """One model: the files of its versions by relative path, and its configuration."""

    name: str
    config: Config
    files: Mapping[str, bytes] = field(default_factory=dict)


def write_model(root: Path, model: ModelFolder) -> Path:
    """Put a model into a repository in place of what was there; return its folder."""
    root.mkdir(parents=True, exist_ok=True)
    folder = root / model.name
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{model.name}-") as scratch:
        fresh = Path(scratch) / model.name
        for path, payload in model.files.items():
            (fresh / path).parent.mkdir(parents=True, exist_ok=True)
            (fresh / path).write_bytes(payload)
        (fresh / "config.pbtxt").write_text(model.config.text(model.name))
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
    return folder


def _tensor_text(word: str, tensor: Tensor) -> str:
    dims = ", ".join(str(size) for size in tensor.dims)
    labels = f', label_filename: "{tensor.label_file}"' if tensor.label_file else ""
    kind = "STRING" if tensor.datatype == "BYTES" else tensor.datatype
    return f'{word} {{ name: "{tensor.name}", data_type: TYPE_{kind}, dims: [ {dims} ]{labels} }}'
