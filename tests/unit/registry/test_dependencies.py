"""What follows from a pinned package that differs: the policies of a bundle and of a node."""

from pathlib import Path
from typing import cast

import pytest

from runtimes.errors import InvalidArgumentError, ModelLoadError
from serving.registry.bundles.dependencies import Decision, Dependencies, Policy, effective_policy
from serving.registry.bundles.manifest import DependencyWord, Requirements

OTHER = "numpy==0.1"


def lock(folder: Path, text: str) -> Path:
    """Write a lock file."""
    (folder / "requirements.txt").write_text(text)
    return folder


def requirements(dependencies: str = "") -> Requirements:
    """Requirements with a lock."""
    return Requirements(
        lock_file="requirements.txt", dependencies=cast("DependencyWord", dependencies)
    )


@pytest.mark.parametrize(
    ("own", "node", "holds"),
    [
        ("", "warn", "warn"),
        ("isolate", "warn", "isolate"),
        ("ignore", "warn", "ignore"),
        ("refuse", "ignore", "refuse"),
        ("warn", "refuse", "refuse"),
        ("ignore", "refuse", "refuse"),
        ("isolate", "refuse", "isolate"),
    ],
)
def test_a_bundle_chooses_unless_the_node_refuses(own: str, node: str, holds: str) -> None:
    """The bundle's policy is the one that holds; only a node's `refuse` is not loosened."""
    assert effective_policy(requirements(own), Policy(node)) is Policy(holds)


def test_each_policy_has_its_consequence(tmp_path: Path) -> None:
    """Where a package differs: a reason, a warning, an environment, or nothing."""
    folder = lock(tmp_path, OTHER)
    by_policy = {policy: Dependencies(policy) for policy in Policy}

    with pytest.raises(ModelLoadError, match=r"python -m pip install numpy==0\.1"):
        by_policy[Policy.REFUSE].decide(requirements(), folder)
    warned = by_policy[Policy.WARN].decide(requirements(), folder)
    assert warned.warning.startswith("BP-E08 numpy 0.1 is pinned and ")
    assert not warned.lock_file
    isolated = by_policy[Policy.ISOLATE].decide(requirements(), folder)
    assert isolated == Decision(lock_file=str(folder / "requirements.txt"))
    assert by_policy[Policy.IGNORE].decide(requirements(), folder) == Decision()


@pytest.mark.parametrize("policy", list(Policy), ids=str)
def test_what_is_as_pinned_needs_nothing(tmp_path: Path, policy: Policy) -> None:
    """Installed as pinned, or without a lock, every policy lets the version run in ours."""
    import numpy as np  # noqa: PLC0415  ours, to pin it

    folder = lock(tmp_path, f"numpy=={np.__version__}")

    assert Dependencies(policy).decide(requirements(), folder) == Decision()
    assert Dependencies(policy).decide(Requirements(), folder) == Decision()


def test_a_lock_that_pins_nothing_exactly_is_refused(tmp_path: Path) -> None:
    """A bundle from elsewhere may hold anything: its version fails, with the line."""
    with pytest.raises(InvalidArgumentError, match="line 1"):
        Dependencies(Policy.WARN).decide(requirements(), lock(tmp_path, "numpy>=1"))
