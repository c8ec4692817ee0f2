"""What is said of a version that cannot be loaded or promoted as asked, and what would help. Pure.

Three parties take versions in and out: whoever calls the model repository's interface (explicit
mode only), operators (`bascule unload`), and the registry, whose versions are archived.
"""

from collections.abc import Iterable
from typing import Final

from serving.ids import VersionKey
from serving.registry.catalog import RegisteredVersion

OF_REGISTRY: Final = "registry "
"""How the origin of a registry's version begins."""
CONTROL_IS_OFF: Final = "explicit model load / unload is not allowed if polling is enabled"
"""Triton's words, which it uses in its mode none as well."""


def control_is_off(mode: str) -> str:
    """Say that clients may load and unload nothing."""
    return f"{CONTROL_IS_OFF}: the mode is {mode}; start with --model-control-mode explicit"


def served_from_registry(model: str, versions: Iterable[int]) -> str:
    """Say that clients load and unload a repository's models only."""
    listed = ", ".join(f"{model}:{version}" for version in sorted(versions))
    return (
        f"'{model}' is served from the registry ({listed}), not from the model repository: "
        f"bascule push brings versions of it, bascule unload {model} takes it out of service"
    )


def archived(row: RegisteredVersion, live: int | None) -> str:
    """Say why an archived version cannot be promoted."""
    key = f"{row.model}:{row.version}"
    if row.collected_utc is not None:
        remedy = "its files were collected: push its bundle again"
    else:
        remedy = (
            f"bascule rollout start {row.model} --to {row.version} loads it again and moves the "
            "traffic to it; pushing it again only loads it"
        )
    return (
        f"{key} is archived in the registry (bascule unload and rollouts do that) and cannot be "
        f"promoted: the live version stays {live or 'none'}. To bring it back: {remedy}"
    )


def taken_out(key: VersionKey, mode: str, live: int | None) -> str:
    """Say why a repository's version that an operator unloaded cannot be promoted."""
    load = f"POST /v2/repository/models/{key.model}/load does, or " if mode == "explicit" else ""
    poll = "a change of its files does, or " if mode == "poll" else ""
    return (
        f"{key} was taken out of service with bascule unload and cannot be promoted: the live "
        f"version stays {live or 'none'}. To bring it back: {load}{poll}the instance's next start"
    )
