"""What can change of a node while a process runs on it: read anew, and compared with its beginning.

A process keeps the libraries that it has loaded. What another one would load now stands in the
files, and those can be replaced under it; a driver can be, and a machine that migrates gets
another CPU. A look takes some milliseconds.
"""

import importlib.metadata
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from runtimes.facts import NodeFacts
from runtimes.gpu_probe import Gpus, Nvml, probe_gpus
from runtimes.kernel_files import text_of
from runtimes.node_probe import CPU_INFO, PACKAGES, cpu_of

Told = TypeVar("Told")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a process that started now would find."""

    cpu_model: str
    cpu_flags: frozenset[str]
    packages: Mapping[str, str]
    """Installed version of each package that can change a result."""
    driver: str = ""
    """NVIDIA's; why it cannot be told, where it could be before. Empty where there is none."""


def read_place(python: str, nvml: Nvml | None) -> Place:
    """Look at this node as an interpreter finds it. Blocking.

    Args:
        python: The interpreter's path: ours, or that of a virtual environment.
        nvml: Where the driver is asked; None: nobody cares.
    """
    model, flags = cpu_of(text_of(CPU_INFO))
    return Place(
        cpu_model=model,
        cpu_flags=flags,
        packages=packages_in(search_path(python)),
        driver="" if nvml is None else _driver(probe_gpus(nvml)),
    )


def now_of(began: NodeFacts, first: Place, now: Place) -> NodeFacts | None:
    """Return what a process began with, with what has changed since; None: nothing has.

    What differs is news only if two looks differ: whoever looks may see another node than the
    process does.

    Args:
        began: As the process measured it.
        first: A look from about then.
        now: The latest look.
    """
    if now == first:
        return None
    changed = replace(
        began,
        cpu_model=_newer(began.cpu_model, first.cpu_model, now.cpu_model),
        cpu_flags=_newer(began.cpu_flags, first.cpu_flags, now.cpu_flags),
        driver=_newer(began.driver, first.driver, now.driver),
        packages=_newer_packages(began.packages, first.packages, now.packages),
    )
    return None if changed == began else changed


def search_path(python: str) -> Sequence[str]:
    """Return where an interpreter finds packages: what its environment pins shadows ours."""
    if python == sys.executable:
        return sys.path
    own = Path(python).parent.parent.glob("lib/python3*/site-packages")
    return [*map(str, own), *sys.path]


def packages_in(path: Sequence[str]) -> Mapping[str, str]:
    """Return the versions of packages that can change a result, as the files in a path say."""
    found = {name: text for name in PACKAGES if (text := _version(name, path))}
    return MappingProxyType(found)


def _version(name: str, path: Sequence[str]) -> str:
    distributions = importlib.metadata.distributions(name=name, path=list(path))
    return next((str(one.version or "") for one in distributions), "")


def _driver(gpus: Gpus) -> str:
    return gpus.driver or (f"unknown: {gpus.problem}" if gpus.problem else "")


def _newer(began: Told, first: Told, now: Told) -> Told:
    return began if now == first else now


def _newer_packages(
    began: Mapping[str, str], first: Mapping[str, str], now: Mapping[str, str]
) -> dict[str, str]:
    found = dict(began)
    for name in first.keys() | now.keys():
        if first.get(name) == now.get(name):
            continue
        if name in now:
            found[name] = now[name]
        else:
            found.pop(name, None)
    return found
