"""What an import found: versions that can become bundles, what they lose, and what cannot."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtimes.contract import TensorSpec
from runtimes.errors import InvalidArgumentError
from serving.registry.bundles.packing import PackOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A version that can be packed."""

    order: PackOrder
    is_numbered: bool = True
    """The version's number means something; False: the registry may choose another."""
    declared: tuple[TensorSpec, ...] = ()
    """Inputs and outputs as its source says them, with full shapes; empty: it says none."""
    losses: tuple[str, ...] = ()
    """What does not come along, or comes along without effect; one line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Something that cannot be imported."""

    model: str
    version: int | None
    """None: the whole model."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a folder holds."""

    candidates: tuple[Candidate, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    def __add__(self, other: "Survey") -> "Survey":
        """Put two folders' findings together."""
        return Survey(
            candidates=(*self.candidates, *other.candidates),
            refusals=(*self.refusals, *other.refusals),
        )


def disagreements(declared: Sequence[TensorSpec], found: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Say where a source and the engine differ about tensors; the engine's word holds.

    Args:
        declared: What the source says.
        found: What the engine says, inputs and outputs.
    """
    known = {spec.name: spec for spec in found}
    return tuple(
        f"signature of {spec.name}: {_text(spec)}, and the model has {_text(known.get(spec.name))}"
        for spec in declared
        if not _agrees(spec, known.get(spec.name))
    )


def _agrees(declared: TensorSpec, found: TensorSpec | None) -> bool:
    if found is None or declared.datatype is not found.datatype:
        return False
    if len(declared.shape) != len(found.shape):
        return False
    sizes = zip(declared.shape, found.shape, strict=True)
    return all(-1 in pair or pair[0] == pair[1] for pair in sizes)


def _text(spec: TensorSpec | None) -> str:
    return "none" if spec is None else f"{spec.datatype}{list(spec.shape)}"


def inner_file(folder: Path, path: str) -> Path:
    """Return a file of a folder that somebody else filled.

    Raises:
        InvalidArgumentError: The path leads out of the folder, be it by a link, or in a circle.
    """
    target = folder / path
    try:
        is_inside = target.resolve().is_relative_to(folder.resolve())
    except (RuntimeError, OSError) as error:  # RuntimeError: what pathlib says of a circle
        raise InvalidArgumentError(
            f"'{path[:80]}' in {folder} leads nowhere: put the file in its place"
        ) from error
    if not is_inside:
        raise InvalidArgumentError(
            f"'{path[:80]}' leads out of {folder}: what is imported must lie in it"
        )
    return target
