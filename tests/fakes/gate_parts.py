"""Nodes and checks in memory, for the gate before placement."""

from collections.abc import Mapping, Sequence

from runtimes.facts import NodeFacts
from runtimes.findings import Finding, Severity
from runtimes.profile import SHIPPED, HardwareProfile
from serving.ids import VersionKey
from serving.registry.version import VersionSpec


class FakeNodes:
    """Nodes that a test may exchange."""

    def __init__(self, *nodes: NodeFacts) -> None:
        """Let these nodes live."""
        self.nodes: Sequence[NodeFacts] = nodes

    def facts(self) -> Sequence[NodeFacts]:
        """Return the nodes."""
        return self.nodes

    def profiles(self) -> Mapping[str, HardwareProfile]:
        """Return what ships."""
        return SHIPPED


class FakeChecks:
    """Finds what it is told to find, and counts how often it was asked."""

    def __init__(self, found: Mapping[VersionKey, tuple[Finding, ...]] | None = None) -> None:
        """Find these."""
        self.found = dict(found or {})
        self.count = 0

    def check(self, spec: VersionSpec, nodes: Sequence[NodeFacts]) -> tuple[Finding, ...]:
        """Return what is to be found."""
        del nodes
        self.count += 1
        return self.found.get(spec.key, ())


class UnreadableChecks:
    """Can never judge, and counts how often it was asked."""

    def __init__(self) -> None:
        """Start at none."""
        self.count = 0

    def check(self, spec: VersionSpec, nodes: Sequence[NodeFacts]) -> None:
        """Say nothing."""
        del spec, nodes
        self.count += 1


def finding(severity: Severity, code: str = "BP-O01") -> Finding:
    """A finding of that severity."""
    return Finding(
        code=code,
        severity=severity,
        subject="model.onnx",
        message="opset 99 is newer than 26",
        fix="export it again",
    )
