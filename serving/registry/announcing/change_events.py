"""What receivers outside are told of changes of the registry: by the action that is audited. Pure.

Rollouts and approvals tell more than the audit log has (`serving.registry.rollouts.events`).
"""

from types import MappingProxyType
from typing import Final, Protocol

from serving.registry.announcing.outbox import Announcement

KINDS: Final = MappingProxyType(
    {
        "push": "version.pushed",
        "want": "version.wanted",
        "unwant": "version.archived",
        "collect": "version.collected",
        "pin_live": "live.moved",
        "unpin_live": "live.unset",
        "alias": "alias.moved",
        "unalias": "alias.removed",
        "require_approvals": "approval.rule_changed",
        "waive": "waiver.granted",
        "unwaive": "waiver.withdrawn",
        "trust_key": "trust.changed",
        "untrust_key": "trust.changed",
        "set_policy": "trust.changed",
        "edit_rules": "trust.changed",
        "restore_rules": "trust.changed",
        "remove_rules": "trust.changed",
    }
)
"""Action of the audit log → kind of event."""
OF_REGISTRY: Final = "registry"
"""The subject of what is about no model."""


class Audited(Protocol):
    """A change as the audit log has it (`serving.registry.audit.Event`)."""

    @property
    def who(self) -> str:
        """Who changed it."""

    @property
    def action(self) -> str:
        """What they did."""

    @property
    def model(self) -> str:
        """Empty: the whole registry."""

    @property
    def version(self) -> int | None:
        """None: all versions, or none in particular."""

    @property
    def detail(self) -> str:
        """What was before, and more."""

    @property
    def reason(self) -> str:
        """Why."""


def announcement_of(change: Audited) -> Announcement | None:
    """Return what is told of a change; None: nothing, or somebody else tells it."""
    kind = KINDS.get(change.action)
    if kind is None:
        return None
    version = "" if change.version is None else f"/{change.version}"
    return Announcement(
        kind=kind,
        subject=f"{change.model}{version}" or OF_REGISTRY,
        data={
            "model": change.model or None,
            "version": change.version,
            "action": change.action,
            "who": change.who,
            "reason": change.reason,
            "detail": change.detail,
        },
    )
