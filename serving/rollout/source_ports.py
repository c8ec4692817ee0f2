"""What the sources of wanted versions need of a registry, and of a folder of models."""

from collections.abc import Sequence
from typing import Protocol

from serving.edge.control import LoadOverride
from serving.registry.picture import Picture
from serving.registry.repository import ModelScan, RepositoryScan
from serving.registry.rollouts.record import Rollout
from serving.registry.version import VersionSpec


class VersionRegistry(Protocol):
    """What is needed of `serving.registry.store.Registry`."""

    def change_counter(self) -> int:
        """Return a number that rises with every change."""

    def picture(self) -> Picture:
        """Return what is there, is wanted, and is under way, as of one moment."""

    def rollouts(self) -> tuple[Rollout, ...]:
        """Return the rollouts that have not ended."""

    def pin_live(
        self, model: str, version: int, who: str, *, reason: str = "", note: str = ""
    ) -> None:
        """Store a promotion."""

    def unwant(self, model: str, version: int | None, who: str) -> None:
        """Archive one version, or all (None)."""


class ModelFolder(Protocol):
    """What is needed of `serving.registry.repository.Repository`."""

    def scan(self) -> RepositoryScan:
        """Read the whole folder."""

    def scan_model(self, model: str) -> ModelScan:
        """Read one model's folder."""

    def scan_override(self, model: str, override: LoadOverride) -> ModelScan:
        """Read one model as a load request describes it."""

    def keep_only(self, specs: Sequence[VersionSpec]) -> None:
        """Forget every override that none of these versions came from."""

    def model_names(self) -> frozenset[str]:
        """Return the names of all models, loadable or not."""
