"""A registry and a model folder in memory."""

from collections.abc import Sequence

from runtimes.preflight.waivers import Waiver
from serving.edge.control import LoadOverride
from serving.errors import NotFoundError
from serving.ids import VersionKey
from serving.registry.picture import Picture
from serving.registry.repository import ModelScan, RepositoryScan
from serving.registry.rollouts.record import Rollout
from serving.registry.version import VersionSpec


class FakeRegistry:
    """Wanted versions and promotions; every change counts."""

    def __init__(self, *specs: VersionSpec) -> None:
        """Want these versions."""
        self.specs = {spec.key: spec for spec in specs}
        self.pins: dict[str, int] = {}
        self.told: list[tuple[str, str, str]] = []
        self.count = 0
        self.allowed: tuple[Waiver, ...] = ()
        self.under_way: tuple[Rollout, ...] = ()
        self.waiting: frozenset[VersionKey] = frozenset()

    def change_counter(self) -> int:
        """Return how often something changed."""
        return self.count

    def picture(self) -> Picture:
        """Return all that is known."""
        return Picture(
            changes=self.count,
            wanted=tuple(self.specs.values()),
            models=frozenset(key.model for key in self.specs),
            rollouts=self.under_way,
            pinned_live=dict(self.pins),
            unapproved=self.waiting,
            waivers=self.allowed,
        )

    def rollouts(self) -> tuple[Rollout, ...]:
        """Return the rollouts that are under way."""
        return self.under_way

    def pin_live(
        self, model: str, version: int, who: str, *, reason: str = "", note: str = ""
    ) -> None:
        """Store a promotion."""
        self.told.append((who, reason, note))
        self.pins[model] = version
        self.count += 1

    def unwant(self, model: str, version: int | None, who: str) -> None:
        """Archive versions."""
        assert who
        gone = [k for k in self.specs if k.model == model and version in {None, k.version}]
        if not gone:
            raise NotFoundError(f"nothing of '{model}' is loaded from the registry")
        for key in gone:
            del self.specs[key]
        self.count += 1


class FakeFolder:
    """Models in Triton's layout: `put` replaces what the folder says of one."""

    def __init__(self, *specs: VersionSpec) -> None:
        """Hold these versions."""
        self.scans: dict[str, ModelScan] = {}
        self.overrides: dict[str, ModelScan] = {}
        """What a load with this configuration finds."""
        self.asked: list[LoadOverride] = []
        self.kept: tuple[VersionSpec, ...] = ()
        for spec in specs:
            before = self.scans.get(spec.model, ModelScan(model=spec.model)).versions
            self.put(ModelScan(model=spec.model, versions=(*before, spec)))

    def put(self, scan: ModelScan) -> None:
        """Say something else of a model."""
        self.scans[scan.model] = scan

    def scan(self) -> RepositoryScan:
        """Read the whole folder."""
        return RepositoryScan(models=dict(self.scans))

    def scan_model(self, model: str) -> ModelScan:
        """Read one model's folder."""
        if model not in self.scans:
            raise NotFoundError(f"model '{model}' is not found")
        return self.scans[model]

    def scan_override(self, model: str, override: LoadOverride) -> ModelScan:
        """Read what `overrides` says of the configuration."""
        self.asked.append(override)
        return self.overrides.get(override.config, self.scan_model(model))

    def keep_only(self, specs: Sequence[VersionSpec]) -> None:
        """Remember what is still in use."""
        self.kept = tuple(specs)

    def model_names(self) -> frozenset[str]:
        """Return the names of all models."""
        return frozenset(self.scans)
