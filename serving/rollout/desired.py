"""What is wanted, from all sources together: the record that the controller works towards. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from runtimes.findings import Finding
from serving.ids import VersionKey
from serving.registry.version import VersionSpec

NO_VERSION = 0
"""Stands for the version in the key of a model that failed before any version was known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A model whose traffic a rollout moves: its candidate, and how much of it that gets now."""

    candidate: int
    """Not live by itself, whatever else fails."""
    share: int = 0
    """Ten-thousandths of the calls that name no version."""
    sticky_by: str = ""
    """The header whose value decides who gets the candidate; empty: chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """The versions that shall be loaded, and what the sources said besides."""

    versions: Mapping[VersionKey, VersionSpec] = field(default_factory=lambda: MappingProxyType({}))
    pinned_live: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Model → the version that was promoted."""
    splits: Mapping[str, Split] = field(default_factory=lambda: MappingProxyType({}))
    """Models with a candidate that a rollout has not switched to."""
    unapproved: frozenset[VersionKey] = frozenset()
    """Versions that wait for approvals: none is live unless it is pinned."""
    failed: Mapping[VersionKey, str] = field(default_factory=lambda: MappingProxyType({}))
    """What is wanted and cannot even be read, with the reason (version `NO_VERSION`: all of it)."""
    predecessors: Mapping[VersionKey, VersionSpec] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """What a repository's policy chose before; each may serve on until a successor does."""
    known_models: frozenset[str] = frozenset()
    """Models that exist, wanted or not."""
    findings: Mapping[VersionKey, tuple[Finding, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    """What was noticed about versions before they were placed: warnings, and why some failed."""
