"""Small exported programs (`.pt2`), sound and hostile."""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.models.small_torch import Tiny


class Pairs(nn.Module):
    """Nested arguments, a constant, and a dictionary with something that is no tensor."""

    def forward(
        self, a: torch.Tensor, pair: tuple[torch.Tensor, torch.Tensor], *, opt: None = None
    ) -> dict[str, torch.Tensor | None]:
        """Sum and product."""
        del opt
        return {"sum": a + pair[0], "nothing": None, "product": a * pair[1]}


class Counter(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add how often it was called."""
        self.calls.add_(1)  # type: ignore[operator]
        return x + self.calls


class Writer(nn.Module):
    """Writes into its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Double x in place."""
        return x.mul_(2)


class Scaled(nn.Module):
    """Takes a number."""

    def forward(self, x: torch.Tensor, by: int) -> torch.Tensor:
        """Multiply by a number."""
        return x * by


class Payload:
    """Makes an empty file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> tuple[Any, ...]:
        # It fails after that, so that torch has nothing to say of it.
        code = f"import pathlib; pathlib.Path({str(self._file)!r}).touch(); raise ValueError"
        return (exec, (code,))


def exported(
    module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    dynamic_shapes: Any = None,  # noqa: ANN401  torch's own shape of it
) -> bytes:
    """Return the archive of a module."""
    program = torch.export.export(module.eval(), args, kwargs, dynamic_shapes=dynamic_shapes)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def tiny(*, most_rows: int = 4096) -> bytes:
    """Return x @ W + b with 1 to `most_rows` rows."""
    rows = torch.export.Dim("rows", min=1, max=most_rows)
    return exported(Tiny(), (torch.zeros(2, 16),), dynamic_shapes={"x": {0: rows}})


def hostile(sentinel: Path) -> bytes:
    """The tiny archive, with sample inputs that make a file when they are unpickled."""
    payload = io.BytesIO()
    torch.save(Payload(sentinel), payload)
    return with_member(tiny(), "data/sample_inputs/model.pt", payload.getvalue())


def with_member(archive: bytes, name: str, content: bytes) -> bytes:
    """Return an archive with other content in one member."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(changed, "w") as new:
        for member in old.infolist():
            found = member.filename.partition("/")[2] == name
            new.writestr(member, content if found else old.read(member))
    return changed.getvalue()


def member(archive: bytes, name: str) -> bytes:
    """Return the content of one member."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        prefix = opened.namelist()[0].partition("/")[0]
        return opened.read(f"{prefix}/{name}")
