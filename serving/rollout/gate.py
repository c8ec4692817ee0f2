"""What stands before placement: a version that cannot work on any node never gets a worker.

A gate judges a version by what can be known without loading it. What only a run can show, the
worker finds out when it loads the version, and says so in the same words.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from runtimes.facts import NodeFacts
from runtimes.findings import Finding, Severity
from runtimes.profile import HardwareProfile
from serving.ids import VersionKey
from serving.registry.version import VersionSpec
from serving.rollout.profile_choice import choose


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A version and what was found."""

    spec: VersionSpec
    """With the chosen profile in its policy."""
    findings: tuple[Finding, ...] = ()

    @property
    def refusal(self) -> str:
        """Why it may not be loaded: every error, in one text; empty if it may."""
        errors = [item for item in self.findings if item.severity is Severity.ERROR]
        return "; ".join(map(str, errors))


class Nodes(Protocol):
    """Where versions may be placed."""

    def facts(self) -> Sequence[NodeFacts]:
        """What is known of the living nodes; the same object until that changes."""

    def profiles(self) -> Mapping[str, HardwareProfile]:
        """Every hardware profile that is defined, by name; the same object until that changes."""


class Checks(Protocol):
    """Static checks of one version; slow the first time, for they read its files."""

    def check(self, spec: VersionSpec, nodes: Sequence[NodeFacts]) -> tuple[Finding, ...] | None:
        """Return what is wrong with a version; None: it could not be judged now."""


class Gate:
    """Judges versions, each form once for the same nodes. For one caller at a time."""

    def __init__(self, nodes: Nodes, checks: Checks | None = None) -> None:
        """Judge nothing yet; without checks only the profiles decide."""
        self._nodes = nodes
        self._checks = checks
        self._judged: dict[VersionKey, tuple[VersionSpec, Judged]] = {}
        self._judged_for: tuple[object, object] = (None, None)

    def judge(self, spec: VersionSpec) -> Judged:
        """Say whether a version may be loaded, and with which profile."""
        nodes, profiles = self._nodes.facts(), self._nodes.profiles()
        before_nodes, before_profiles = self._judged_for
        if before_nodes is not nodes or before_profiles is not profiles:
            self._judged.clear()
            self._judged_for = (nodes, profiles)
        asked, known = self._judged.get(spec.key, (None, None))
        if known is not None and asked == spec:
            return known
        choice = choose(spec.policy, profiles, nodes)
        chosen = replace(spec, policy=choice.policy)
        known = Judged(spec=chosen, findings=choice.findings)
        if self._checks is not None and not known.refusal:
            checked = self._checks.check(chosen, nodes)
            if checked is None:
                return known  # not kept: asked again
            known = Judged(spec=chosen, findings=(*choice.findings, *checked))
        self._judged[spec.key] = (spec, known)
        return known

    def forget_all_but(self, keys: Collection[VersionKey]) -> None:
        """Drop what is known of versions that nobody wants any more."""
        for key in self._judged.keys() - set(keys):
            del self._judged[key]
