"""What an import found: versions that can become bundles, what they lose, and what cannot."""

from dataclasses import dataclass
from pathlib import Path

from runtimes.errors import InvalidArgumentError
from serving.registry.packing import PackOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A version that can be packed."""

    order: PackOrder
    is_numbered: bool = True
    """The version's number means something; False: the registry may choose another."""
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


def inner_file(folder: Path, path: str) -> Path:
    """Return a file of a folder that somebody else filled.

    Raises:
        InvalidArgumentError: The path leads out of the folder, be it by a link.
    """
    target = folder / path
    if not target.resolve().is_relative_to(folder.resolve()):
        raise InvalidArgumentError(
            f"'{path[:80]}' leads out of {folder}: what is imported must lie in it"
        )
    return target
