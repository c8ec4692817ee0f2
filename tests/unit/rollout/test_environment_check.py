"""What differs from where a bundle was packed is told, with what it was and what it is."""

from dataclasses import replace
from pathlib import Path

import pytest

from runtimes.facts import NodeFacts
from runtimes.findings import Severity
from serving.registry.bundle import Bundle
from serving.registry.environment import environment_of
from serving.registry.manifest import MANIFEST_FILE, PackedOn
from serving.registry.version import VersionSpec
from serving.rollout.environment_check import CODE, environment_findings
from tests.fakes.bundles import make_bundle
from tests.fakes.node_facts import CPU_NODE


def packed_on(bundle: Bundle, environment: PackedOn) -> VersionSpec:
    """A version whose manifest says where it was packed."""
    manifest = bundle.manifest.model_copy(update={"packed_on": environment})
    path = bundle.folder / MANIFEST_FILE
    path.chmod(0o644)
    path.write_bytes(manifest.pretty())
    return VersionSpec(
        model="m",
        version=1,
        file=str(bundle.folder / manifest.model_file),
        format=manifest.format,
        size_bytes=1,
        digest="d",
        origin="test",
        folder=str(bundle.folder),
    )


@pytest.mark.parametrize(
    ("node", "told"),
    [
        pytest.param(CPU_NODE, "", id="the same"),
        pytest.param(
            replace(CPU_NODE, packages={"numpy": "2.4.6"}), "numpy 2.4.0 → 2.4.6", id="a library"
        ),
        pytest.param(replace(CPU_NODE, cpu_model="EPYC"), "→ EPYC", id="the CPU"),
        pytest.param(replace(CPU_NODE, system="Linux-7.0"), "", id="what changes no result"),
    ],
)
def test_what_can_change_results_is_told(tmp_path: Path, node: NodeFacts, told: str) -> None:
    """Information with both sides; nothing where nothing matters."""
    environment = environment_of(CPU_NODE, format_name="echo", threads=1)

    found = list(environment_findings(packed_on(make_bundle(tmp_path), environment), node))

    assert [(one.code, one.severity) for one in found] == [(CODE, Severity.INFO)] * bool(told)
    assert all(told in one.message for one in found)


def test_without_a_measured_environment_nothing_is_told(tmp_path: Path) -> None:
    """A bundle that says little of its packing is no evidence."""
    environment = PackedOn(python="3.11.0", platform="Linux")

    assert not list(environment_findings(packed_on(make_bundle(tmp_path), environment), CPU_NODE))
