"""The registry of one home: what was pushed, what is wanted, what was promoted, and by whom.

Blocking (SQL and files): an event loop calls it in a thread. Safe for several processes at once.
"""

from collections.abc import Mapping
from pathlib import Path

from serving.registry.version import VersionSpec


class Registry:
    """Catalog and blobs under `home/registry`; a context manager. Thread-safe."""

    def __init__(self, home: Path, *, gpu: bool = False) -> None:
        """Open the catalog, creating or migrating it; `gpu`: what KIND_AUTO means here."""
        raise NotImplementedError

    def change_counter(self) -> int:
        """Return a number that rises with every change: cheap, for polling."""
        raise NotImplementedError

    def wanted(self) -> tuple[VersionSpec, ...]:
        """Return every version that shall be loaded, by model and version."""
        raise NotImplementedError

    def models(self) -> frozenset[str]:
        """Return the models that exist, wanted or not."""
        raise NotImplementedError

    def pinned_live(self) -> Mapping[str, int]:
        """Return the promoted version of each model that has one, repository models included."""
        raise NotImplementedError

    def pin_live(self, model: str, version: int, who: str) -> None:
        """Store a promotion; the model may be one of a repository."""
        raise NotImplementedError

    def want(self, model: str, version: int, who: str) -> None:
        """Ask for a version to be loaded; NotFoundError if it was never pushed."""
        raise NotImplementedError

    def unwant(self, model: str, version: int | None, who: str) -> None:
        """Archive one version, or all (None); NotFoundError if nothing of that name is wanted."""
        raise NotImplementedError
