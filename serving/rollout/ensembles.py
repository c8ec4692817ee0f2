"""Ensembles among what is wanted: which versions their steps mean, and who shares a pool. Pure.

An ensemble is wanted with names; what workers get are the versions that these names mean now. They
are part of its digest, so an ensemble whose steps change is loaded again, beside the old form. One
whose steps cannot be had is wanted no more, and the reason stands in its place: calls are refused
until the model is back.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from runtimes.errors import ModelLoadError
from serving.ids import VersionKey
from serving.registry.ensemble import LATEST, EnsembleStep, step_name
from serving.registry.repository import ModelScan
from serving.registry.version import VersionSpec
from serving.rollout.desired import Desired
from serving.rollout.memory import Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """What is wanted, with the steps of every ensemble as versions."""

    desired: Desired
    groups: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Model → the ensemble by whose name its group is called: a group has one pool."""


def linked(desired: Desired, memory: Memory) -> Linked:
    """Find the versions that ensembles' steps mean, and whose ensembles cannot be served.

    Args:
        desired: As the sources want it.
        memory: What failed, and what is live.
    """
    ensembles = {key: spec for key, spec in desired.versions.items() if spec.policy.ensemble}
    if not ensembles:
        return Linked(desired=desired)
    links = _Links(desired, memory, ensembles)
    links.resolve_all()
    versions = {
        key: links.found.get(key, spec)
        for key, spec in desired.versions.items()
        if key not in links.refused
    }
    return Linked(
        desired=replace(desired, versions=versions, failed={**desired.failed, **links.refused}),
        groups=_groups({k: spec for k, spec in ensembles.items() if k not in links.apart}),
    )


def member_models(scan: ModelScan) -> tuple[str, ...]:
    """Return the models of the steps of an ensemble's versions; nothing for another model."""
    steps = (step for spec in scan.versions for step in spec.policy.ensemble)
    return tuple(dict.fromkeys(step.model for step in steps))


class _Links:
    """Resolves ensembles, those inside others first."""

    def __init__(
        self, desired: Desired, memory: Memory, ensembles: Mapping[VersionKey, VersionSpec]
    ) -> None:
        self.found: dict[VersionKey, VersionSpec] = {}
        self.refused: dict[VersionKey, str] = {}
        self.apart: set[VersionKey] = set()
        """Ensembles that one worker cannot serve."""
        self._desired = desired
        self._memory = memory
        self._ensembles = ensembles
        self._open: list[VersionKey] = []
        self._versions: dict[str, list[int]] = {}
        for key in desired.versions:
            self._versions.setdefault(key.model, []).append(key.version)

    def resolve_all(self) -> None:
        for key in self._ensembles:
            self._resolve(key)

    def _resolve(self, key: VersionKey) -> None:
        if key in self.found or key in self.refused:
            return
        self._open.append(key)
        try:
            self.found[key] = self._with_versions(self._ensembles[key])
        except ModelLoadError as error:
            self.refused[key] = error.message
        self._open.pop()

    def _with_versions(self, spec: VersionSpec) -> VersionSpec:
        digest = hashlib.sha256(spec.digest.encode())
        steps: list[EnsembleStep] = []
        packages: set[str] = set()
        for number, step in enumerate(spec.policy.ensemble, start=1):
            member = self._member(step, step_name(number, step))
            digest.update(f"\0{member.key}\0{member.digest}".encode())
            packages |= self._packages(step.model)
            steps.append(replace(step, version=member.version))
        if len(packages) > 1:
            self.apart.add(spec.key)
            raise ModelLoadError(
                "its steps pin different packages and one worker has one set of them: give them "
                "the same lock file, or none"
            )
        policy = replace(spec.policy, ensemble=tuple(steps))
        return replace(
            spec, policy=policy, digest=digest.hexdigest(), lock_file=next(iter(packages))
        )

    def _packages(self, model: str) -> set[str]:
        """Return the locks of all versions of a model: they share its pool."""
        keys = [VersionKey(model, version) for version in self._versions.get(model, ())]
        return {self.found.get(key, self._desired.versions[key]).lock_file for key in keys}

    def _member(self, step: EnsembleStep, where: str) -> VersionSpec:
        """Return the version that a step means.

        Raises:
            ModelLoadError: There is none that could answer; the message says why.
        """
        model = step.model
        versions = [step.version] if step.version != LATEST else self._allowed(model)
        absent = {number: self._absence(VersionKey(model, number)) for number in versions}
        usable = [number for number, reason in absent.items() if not reason]
        if not usable:
            reason = next((absent[number] for number in sorted(absent, reverse=True)), "")
            raise ModelLoadError(f"{where} is not ready: {reason or self._unwanted(model)}")
        key = VersionKey(model, self._chosen(model, usable))
        return self.found.get(key, self._desired.versions[key])

    def _allowed(self, model: str) -> list[int]:
        """Return the versions that may be live: approved, or pinned."""
        pinned, waits = self._desired.pinned_live.get(model), self._desired.unapproved
        found = self._versions.get(model, [])
        return [n for n in found if n == pinned or VersionKey(model, n) not in waits]

    def _chosen(self, model: str, usable: list[int]) -> int:
        """Choose as routing does: the promoted version, else the highest that answers now."""
        pinned = self._desired.pinned_live.get(model)
        if pinned in usable:
            return pinned
        routed = [n for n in usable if self._memory.routed_pool(VersionKey(model, n)) is not None]
        return max(routed or usable)

    def _absence(self, key: VersionKey) -> str:
        """Say why a version cannot be a step; empty if it can."""
        spec = self._desired.versions.get(key)
        if spec is None:
            reason = self._desired.failed.get(key, "")
            return reason or f"version {key.version} of model '{key.model}' is not loaded"
        if key in self._open:
            circle = " → ".join(str(each) for each in (*self._open[self._open.index(key) :], key))
            return f"ensembles call each other in a circle: {circle}"
        if key in self._ensembles:
            self._resolve(key)
            return self.refused.get(key, "")
        if self._memory.routed_pool(key) is not None:
            return ""  # the form before a failed one serves on
        return self._memory.failure(key, spec.digest) or self._memory.unplaced.get(key, "")

    def _unwanted(self, model: str) -> str:
        for key, reason in self._desired.failed.items():
            if key.model == model:
                return reason
        known = "is not loaded" if model in self._desired.known_models else "does not exist"
        return f"model '{model}' {known}"


def _groups(ensembles: Mapping[VersionKey, VersionSpec]) -> dict[str, str]:
    """Return each model's group: ensembles that have a model in common share one."""
    parents: dict[str, str] = {}

    def root(model: str) -> str:
        while (parent := parents.setdefault(model, model)) != model:
            model = parent
        return model

    for key, spec in ensembles.items():
        for step in spec.policy.ensemble:
            parents[root(step.model)] = root(key.model)
    names: dict[str, str] = {}
    for name in sorted({key.model for key in ensembles}):
        names.setdefault(root(name), name)
    return {model: names[root(model)] for model in tuple(parents)}
