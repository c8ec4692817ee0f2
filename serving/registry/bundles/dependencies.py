"""What happens to a version whose bundle pins packages that this node has not got. Mostly a table.

===========  ======================================================================
policy       where a pinned package differs
===========  ======================================================================
``refuse``   the version is not loaded; the reason has the command that mends it
``warn``     it is loaded, and its status says what differs
``isolate``  its worker runs in an environment that is built from the lock
``ignore``   it is loaded, and nothing is said
===========  ======================================================================

The bundle may name a policy of its own. A node that says ``refuse`` is not talked out of it: there
a bundle's ``warn`` and ``ignore`` count for nothing, while ``isolate`` gives what is pinned.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final

from runtimes.errors import ModelLoadError
from serving.registry.bundles.manifest import Requirements
from serving.registry.bundles.pins import (
    Mismatch,
    compare,
    installed_packages,
    mending_command,
    node_environment,
    read_pins,
)

DEFAULT_DEPENDENCIES: Final = "warn"
SHOWN: Final = 5


class Policy(StrEnum):
    """What to do where a pinned package differs."""

    REFUSE = "refuse"
    WARN = "warn"
    ISOLATE = "isolate"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows for one version on this node."""

    lock_file: str = ""
    """Absolute path of the lock to build its environment from; empty: it runs in ours."""
    warning: str = ""


class Dependencies:
    """Decides for every bundle of a registry; reads the installed packages once, while they stay.

    Thread-safe: at worst two threads read the packages at once.
    """

    def __init__(self, policy: Policy) -> None:
        """Remember this node's policy."""
        self._policy = policy
        self._installed = _Installed()

    def decide(self, requirements: Requirements, folder: Path) -> Decision:
        """Compare a stored bundle's lock with the packages of this process.

        Args:
            requirements: The manifest's.
            folder: The bundle's.

        Raises:
            ModelLoadError: The policy refuses what differs.
            InvalidArgumentError: The lock file pins nothing exactly.
        """
        policy = effective_policy(requirements, self._policy)
        if not requirements.lock_file or policy is Policy.IGNORE:
            return Decision()
        lock = folder / requirements.lock_file
        mismatches = compare(read_pins(lock), self._packages(), node_environment())
        if not mismatches:
            return Decision()
        if policy is Policy.ISOLATE:
            return Decision(lock_file=str(lock))
        text = differences_text(mismatches)
        if policy is Policy.REFUSE:
            raise ModelLoadError(
                f"BP-E08 {text}; or let it run in an environment of its own (isolate)"
            )
        return Decision(warning=f"BP-E08 {text}")

    def _packages(self) -> Mapping[str, str]:
        stamp = tuple(Path(folder).stat().st_mtime_ns for folder in sys.path if _is_site(folder))
        if stamp != self._installed.stamp:
            self._installed = _Installed(stamp, installed_packages())
        return self._installed.packages


@dataclass(frozen=True, slots=True)
class _Installed:
    """What was installed when the folders of packages had these times of change."""

    stamp: tuple[int, ...] | None = None
    packages: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def _is_site(folder: str) -> bool:
    return folder.endswith("-packages") and Path(folder).is_dir()


def effective_policy(requirements: Requirements, policy: Policy) -> Policy:
    """Return the policy that holds for a bundle on a node that has this one."""
    own = Policy(requirements.dependencies) if requirements.dependencies else policy
    if policy is Policy.REFUSE and own in {Policy.WARN, Policy.IGNORE}:
        return Policy.REFUSE
    return own


def differences_text(mismatches: tuple[Mismatch, ...]) -> str:
    """Say what differs and the command that mends it."""
    shown = "; ".join(one.text() for one in mismatches[:SHOWN])
    more = f" (and {len(mismatches) - SHOWN} more)" if len(mismatches) > SHOWN else ""
    return f"{shown}{more}: {mending_command(mismatches)}"
