"""What operators asked of a repository since the start, kept for a controller that comes after.

On Ray a controller that was killed is started again with the arguments of the first start. What was
loaded and unloaded since, and what was taken out, is in this file: it lives as long as the instance
and no longer, since a new start begins with what it is told. Blocking.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from serving.errors import NotReadyError
from serving.registry.repository import ModelScan
from serving.rollout.damaged_file import read_or_set_aside


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """A version that an operator took out, in the form that it had then."""

    model: str
    version: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What is wanted of a repository, and what is not."""

    loaded: tuple[ModelScan, ...] = ()
    """Explicit mode: every model that is loaded, as it was when it was; empty in other modes."""
    retired: tuple[Retired, ...] = ()


class WishesFile:
    """The wishes on disk; a reader sees the old ones or the new ones, nothing between."""

    def __init__(self, path: Path) -> None:
        """Remember where it is; nothing is read yet."""
        self._path = path
        self._saved: Wishes | None = None

    def load(self) -> Wishes | None:
        """Return what was saved last; None: no controller came before, or it cannot be read."""
        self._saved = read_or_set_aside(
            self._path,
            Wishes,
            event="wishes_lost",
            remedy="what was named at start is served: load and unload again what operators "
            "asked for since (bascule status)",
        )
        return self._saved

    def save(self, wishes: Wishes) -> None:
        """Keep wishes; those that are kept already cost nothing.

        Raises:
            NotReadyError: They cannot be written.
        """
        if wishes == self._saved:
            return
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_bytes(msgspec.json.encode(wishes))
            fresh.replace(self._path)
        except OSError as error:
            raise NotReadyError(
                f"what is to be loaded cannot be kept in {self._path}: {error.strerror}; it is "
                "tried again with the next change"
            ) from error
        self._saved = wishes
