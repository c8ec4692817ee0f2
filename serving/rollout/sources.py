"""Where wanted versions come from: the registry, a repository folder, and files named at start.

Blocking (SQL and files) and for one caller at a time: the controller calls it in a thread.

==========  =======================================================================
mode        what of the repository is wanted
==========  =======================================================================
``none``    all of it, as it was at start: it is read once
``poll``    all of it, read again every few seconds
``explicit``  what was named at start (`*`: all) or loaded since, as it was when it was loaded
==========  =======================================================================

Where the registry and the repository both have a model, the registry's versions are served. It is
longer than most files because every method changes the same few records of what is wanted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from runtimes.errors import InvalidArgumentError
from runtimes.preflight.waivers import Waiver
from serving.edge.control import Asked, LoadOverride
from serving.errors import NotFoundError, NotReadyError
from serving.ids import VersionKey, model_name
from serving.registry.picture import Picture
from serving.registry.repository import ModelScan
from serving.registry.version import VersionSpec
from serving.rollout.desired import NO_VERSION, Desired
from serving.rollout.engine.splits import splits_of
from serving.rollout.ensembles import member_models
from serving.rollout.gate import Gate, Judged
from serving.rollout.source_ports import ModelFolder, VersionRegistry
from serving.rollout.waived import waived
from serving.rollout.way_back import control_is_off
from serving.rollout.wishes import Retired, Wishes, WishesFile

log = structlog.get_logger(__name__)

ALL_MODELS: Final = "*"
LOOKS_BETWEEN: Final = 30
"""What could not be looked at is read again after so many looks at the registry (a second each)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What was named at start."""

    mode: str = "none"
    load_model: tuple[str, ...] = ()
    """Explicit mode: repository models to load at start; `*` is all."""
    registry_versions: Mapping[str, int | None] | None = None
    """Registry models to serve, with the one version or None for all; None: whatever is wanted."""
    files: tuple[VersionSpec, ...] = ()
    """Versions that are in neither of the two."""


class Sources:
    """All sources together, and what operators took out of them."""

    def __init__(
        self,
        registry: VersionRegistry,
        repository: ModelFolder | None,
        selection: Selection,
        gate: Gate | None = None,
        accepted: Iterable[VersionSpec] = (),
        wishes: WishesFile | None = None,
    ) -> None:
        """Remember the sources; nothing is read yet.

        Args:
            registry: What was pushed.
            repository: A folder in Triton's layout.
            selection: What was named at start.
            gate: Judges every version before it is wanted; None: nothing is refused here.
            accepted: What a controller before this one had accepted, and asked workers to host: it
                serves on where its newer form is refused, or cannot be read.
            wishes: Where a controller before this one left what operators asked for; None: what
                was named at start is all that is known.
        """
        self._wishes = wishes
        self._gate = gate
        self._accepted = {spec.key: spec for spec in accepted}
        self._registry = registry
        self._repository = repository
        self._selection = selection
        self._scans: dict[str, ModelScan] = {}
        self._former: dict[str, tuple[VersionSpec, ...]] = {}
        """What a model's policy chose before, and no longer does."""
        self._names: frozenset[str] = frozenset()
        self._retired: dict[VersionKey, str] = {}
        self._problems: tuple[str, ...] = ()
        self._counter = -1
        self._is_partial = False
        self._partial_looks = 0
        self._is_first = True
        self._is_recalled = False

    @property
    def is_polled(self) -> bool:
        """Whether the repository shall be read again and again."""
        return self._repository is not None and self._selection.mode == "poll"

    @property
    def mode(self) -> str:
        """Who loads what of the repository."""
        return self._selection.mode

    def has_registry_changed(self) -> bool:
        """Whether the registry changed since it was read last, or is worth another look."""
        self._partial_looks += self._is_partial
        if self._partial_looks > LOOKS_BETWEEN:
            return True
        return self._registry.change_counter() != self._counter

    def read(self, *, rescan: bool = False) -> Desired:
        """Return what is wanted.

        Args:
            rescan: Read the repository again (not in mode none, and in explicit mode what is
                loaded stays as it is: only the list of models is renewed).

        Raises:
            NotFoundError: The repository's folder does not exist.
            InvalidArgumentError: It cannot be read, or a model named at start is not in it.
            NotReadyError: What operators asked for cannot be kept for the next controller.
        """
        if self._is_first:
            self._recall()
        is_due = self._is_first or (rescan and self._selection.mode != "none")
        if self._repository is not None and is_due:
            self._rescan(self._repository)
        if self._is_first:
            self._former = self._inherited()
        self._is_first = False
        if self._wishes is not None:
            self._wishes.save(self._wished())
        picture = self._registry.picture()
        desired = self._desired(picture)
        self._counter = picture.changes  # last: what could not be read is still to be read
        self._is_partial, self._partial_looks = picture.is_partial, 0
        return desired

    def load(self, model: str, override: LoadOverride | None = None) -> ModelScan:
        """Read a model of the repository afresh and want it (explicit mode).

        Args:
            model: Its name.
            override: What to take in place of its folder, until the next load.

        Raises:
            NotReadyError: The mode is not explicit.
            UnsupportedError: There is an override, and those are off.
            NotFoundError: There is no such model.
            InvalidArgumentError: There is no version to load; what was loaded stays.
        """
        scan = self._scan_one(model, override)
        if not scan.versions and not scan.failed:
            why = f": {scan.reason}" if scan.reason else ""
            raise InvalidArgumentError(f"failed to load '{model}', no version is available{why}")
        for key in [key for key in self._retired if key.model == model]:
            del self._retired[key]
        self._replace(_kept(self._scans.get(model), scan))
        self._scan_members(scan)
        return scan

    def scan_of(self, model: str) -> ModelScan | None:
        """Return how a repository model is wanted now; None: it is not."""
        return self._scans.get(model)

    def restore(self, scan: ModelScan) -> None:
        """Want a model again as it was wanted before."""
        self._scans[scan.model] = scan
        self._former.pop(scan.model, None)

    def drop_overrides(self) -> None:
        """Remove the files of overrides that no wanted version lies in."""
        if self._repository is not None:
            specs = [spec for scan in self._scans.values() for spec in scan.versions]
            self._repository.keep_only(specs)

    def unload(self, model: str, *, dependents: bool = False) -> None:
        """Want nothing of a repository model any more (explicit mode); absent models succeed.

        Args:
            model: The model.
            dependents: If it is an ensemble: its steps' models go as well, but for those that
                another loaded ensemble needs, or a rollout moves.

        Raises:
            NotReadyError: The mode is not explicit.
        """
        if self._selection.mode != "explicit":
            raise NotReadyError(control_is_off(self.mode))
        gone = self._scans.pop(model, None)
        self._former.pop(model, None)
        if gone is None or not dependents:
            return
        needed = {name for scan in self._scans.values() for name in member_models(scan)}
        needed |= {rollout.model for rollout in self._registry.rollouts()}
        for name in member_models(gone):
            if name not in needed:
                self.unload(name, dependents=True)

    def retire(self, model: str, version: int | None, who: str) -> None:
        """Take out one version, or all of a model, wherever it comes from.

        Raises:
            NotFoundError: Nothing of that name is wanted.
        """
        picture = self._registry.picture()
        specs = [
            spec
            for key, spec in self._desired(picture).versions.items()
            if key.model == model and version in {None, key.version}
        ]
        registered = {spec.key for spec in picture.wanted}
        if not specs or any(spec.key in registered for spec in specs):
            self._registry.unwant(model, version, who)  # says so if there is nothing
        self._former.pop(model, None)
        self._retired |= {spec.key: spec.digest for spec in specs if spec.key not in registered}

    def is_taken_out(self, key: VersionKey) -> bool:
        """Whether an operator took a version out that no registry has."""
        return key in self._retired

    def pin_live(self, model: str, version: int, asked: Asked, note: str) -> None:
        """Store a promotion."""
        self._registry.pin_live(model, version, asked.who, reason=asked.reason, note=note)

    def _recall(self) -> None:
        """Want what operators asked of a controller before this one, if there was one."""
        found = self._wishes.load() if self._wishes is not None else None
        if found is None:
            return
        self._retired = {VersionKey(one.model, one.version): one.digest for one in found.retired}
        self._scans = {scan.model: scan for scan in found.loaded}
        self._is_recalled = True

    def _wished(self) -> Wishes:
        return Wishes(
            loaded=tuple(self._scans.values()) if self._selection.mode == "explicit" else (),
            retired=tuple(
                Retired(model=key.model, version=key.version, digest=digest)
                for key, digest in self._retired.items()
            ),
        )

    def _rescan(self, repository: ModelFolder) -> None:
        if self._selection.mode != "explicit":
            scan = repository.scan()
            for gone in self._scans.keys() - scan.models.keys():
                del self._scans[gone]
                self._former.pop(gone, None)
            for found in scan.models.values():
                self._replace(_kept(self._scans.get(found.model), found))
            self._names = frozenset(self._scans)
            self._report(scan.problems)
            return
        self._names = repository.model_names()
        if self._is_first and not self._is_recalled:
            named = self._selection.load_model
            models = sorted(self._names) if ALL_MODELS in named else list(dict.fromkeys(named))
            self._scans = {model: self._scan_first(repository, model) for model in models}
            for named_scan in tuple(self._scans.values()):
                self._scan_members(named_scan)

    def _scan_first(self, repository: ModelFolder, model: str) -> ModelScan:
        try:
            return repository.scan_model(model)
        except NotFoundError as error:
            return ModelScan(model=model, reason=error.message)

    def _scan_members(self, scan: ModelScan) -> None:
        """Want the models of an ensemble's steps with it; one that is not there is its trouble."""
        for name in member_models(scan):
            if self._repository is not None and name in self._names and name not in self._scans:
                self._scans[name] = self._scan_first(self._repository, name)
                self._scan_members(self._scans[name])

    def _scan_one(self, model: str, override: LoadOverride | None) -> ModelScan:
        if self._selection.mode != "explicit":
            raise NotReadyError(control_is_off(self.mode))
        absent = f"failed to load '{model}', failed to poll from model repository"
        if self._repository is None:
            raise NotFoundError(absent)
        try:
            if override is None:
                scan = self._repository.scan_model(model_name(model))
            else:
                scan = self._repository.scan_override(model_name(model), override)
        except NotFoundError as error:
            raise NotFoundError(absent) from error
        self._names |= {model}
        return scan

    def _replace(self, scan: ModelScan) -> None:
        """Want a model as it was read, and remember what was wanted of it until now."""
        before = self._scans.get(scan.model)
        was_chosen = before.versions if before is not None else ()
        chosen = _chosen(scan)
        former = (*self._former.pop(scan.model, ()), *was_chosen)
        gone = {spec.version: spec for spec in former if spec.version not in chosen}
        if chosen and gone:
            accepted = (self._accepted.get(spec.key, spec) for spec in gone.values())
            self._former[scan.model] = tuple(accepted)
        self._scans[scan.model] = scan

    def _inherited(self) -> dict[str, tuple[VersionSpec, ...]]:
        """Return what a controller before this one served, and no policy chooses any more."""
        former: dict[str, tuple[VersionSpec, ...]] = {}
        for key, spec in self._accepted.items():
            chosen = _chosen(self._scans[key.model]) if key.model in self._scans else frozenset()
            if chosen and key.version not in chosen:
                former[key.model] = (*former.get(key.model, ()), spec)
        return former

    def _report(self, problems: tuple[str, ...]) -> None:
        for problem in set(problems).difference(self._problems):
            log.warning("repository_folder_ignored", problem=problem)
        self._problems = problems

    def _desired(self, picture: Picture) -> Desired:
        registered = [item for item in picture.wanted if self._is_chosen(item.model, item.version)]
        unreadable = [item for item in picture.failed if self._is_chosen(item.model, item.version)]
        owned = {item.model for item in registered} | {item.model for item in unreadable}
        scans = [scan for model, scan in self._scans.items() if model not in owned]
        specs = [*registered, *self._selection.files]
        specs += [spec for scan in scans for spec in scan.versions]
        failed = {VersionKey(item.model, item.version): item.reason for item in unreadable}
        for scan in scans:
            failed |= {VersionKey(one.model, one.version): one.reason for one in scan.failed}
            if scan.reason:
                failed[VersionKey(scan.model, NO_VERSION)] = scan.reason
        served = [spec for spec in specs if not self._is_retired(spec)]
        judged = self._judged(served, picture.waivers)
        refused = {one.spec.key: one.refusal for one in judged if one.refusal}
        unread = {VersionKey(one.model, one.version) for scan in scans for one in scan.failed}
        accepted = {one.spec.key: one.spec for one in judged if not one.refusal}
        # A form that is refused, or cannot be read, does not end the one before it, which serves.
        kept = {
            key: spec
            for key, spec in self._accepted.items()
            if key in refused.keys() | unread and not self._is_retired(spec)
        }
        self._accepted = versions = kept | accepted
        known = self._names | picture.models | {spec.model for spec in specs}
        return Desired(
            versions=versions,
            pinned_live=picture.pinned_live,
            splits=splits_of(picture.rollouts),
            unapproved=picture.unapproved,
            failed=failed | refused,
            predecessors={
                spec.key: spec
                for model, former in self._former.items()
                if model not in owned
                for spec in former
                if not self._is_retired(spec)
            },
            known_models=known.union(key.model for key in failed),
            findings={one.spec.key: one.findings for one in judged if one.findings},
        )

    def _judged(self, specs: Sequence[VersionSpec], waivers: tuple[Waiver, ...]) -> list[Judged]:
        if self._gate is None:
            return [Judged(spec=spec) for spec in specs]
        self._gate.forget_all_but({spec.key for spec in specs})
        return [
            # An ensemble has no file and no device: its steps' models are judged.
            Judged(spec=spec) if spec.policy.ensemble else waived(self._gate.judge(spec), waivers)
            for spec in specs
        ]

    def _is_chosen(self, model: str, version: int) -> bool:
        chosen = self._selection.registry_versions
        return chosen is None or (model in chosen and chosen[model] in {None, version})

    def _is_retired(self, spec: VersionSpec) -> bool:
        return self._retired.get(spec.key) == spec.digest


def _chosen(scan: ModelScan) -> frozenset[int]:
    """Return the versions that a model's policy chooses, readable or not."""
    return frozenset([one.version for one in scan.versions] + [one.version for one in scan.failed])


def _kept(before: ModelScan | None, scan: ModelScan) -> ModelScan:
    """Keep wanting the former form of a version whose new one cannot even be read."""
    if before is None or not scan.failed:
        return scan
    broken = {one.version for one in scan.failed}
    former = [spec for spec in before.versions if spec.version in broken]
    return replace(scan, versions=(*scan.versions, *former))
