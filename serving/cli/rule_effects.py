"""What a change of the registry's rules would take out of service."""

from pathlib import Path
from typing import Final

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.registry.bundles.bundle import read_head
from serving.registry.store import Registry
from serving.registry.trust.trust import TrustPolicy, judge
from serving.registry.trust.trust_gate import candidate_of
from serving.registry.version import VersionSpec

OF_REPOSITORIES: Final = "models of a model repository are unsigned, and no rule touches them"


def require_consent(registry: Registry, changed: TrustPolicy, *, is_agreed: bool) -> None:
    """Refuse rules that take versions out of service, unless somebody agreed to that.

    Raises:
        InvalidArgumentError: They do, and nobody agreed; the versions are named.
    """
    gone = taken_out(registry, changed)
    if gone and not is_agreed:
        raise InvalidArgumentError(
            f"that takes out of service: {', '.join(gone)}; nothing was changed. Have them signed "
            "by a key that is trusted for them (bascule sign, bascule keys trust) and push them "
            f"again, or agree with --yes ({OF_REPOSITORIES})"
        )


def taken_out(registry: Registry, changed: TrustPolicy) -> tuple[str, ...]:
    """Name the versions that are served under the rules as they are, and not under others."""
    picture = registry.picture()
    return tuple(
        f"{one.key} (live)" if picture.pinned_live.get(one.model) == one.version else str(one.key)
        for one in picture.wanted
        if _is_refused(one, changed)
    )


def _is_refused(spec: VersionSpec, changed: TrustPolicy) -> bool:
    try:
        head = read_head(Path(spec.folder))
    except BasculeError:  # damaged meanwhile: it is not these rules that end it
        return False
    return judge(changed, candidate_of(head)).refusal is not None
