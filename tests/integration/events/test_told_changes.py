"""Which events changes of the registry leave in the outbox."""

from pathlib import Path

from serving.events.outbox_book import OutboxBook
from serving.ids import VersionKey
from serving.registry.aliases import Author
from serving.registry.announcing.event_types import kind_of
from serving.registry.approvals import approve, require_approvals
from serving.registry.rollouts.book import RolloutBook
from serving.registry.rollouts.plan import Plan
from serving.registry.rollouts.record import Change, RolloutState
from serving.registry.store import Registry
from tests.fakes.bundles import make_bundle

OF_ROLLOUTS = {
    "rollout.pending",
    "approval.requested",
    "approval.granted",
    "rollout.preflight",
}
EVE = Author(who="eve", reason="card and golden samples are fine")


def test_approvals_that_are_asked_for_and_given_are_told(tmp_path: Path) -> None:
    """Of a rollout that waits: begun, waits, approved once by one person, and goes on."""
    key = VersionKey("m", 2)
    with Registry(tmp_path / "home") as registry:
        registry.push(make_bundle(tmp_path / "1").folder, "ann")
        registry.push(make_bundle(tmp_path / "2", version=2, content=b"2").folder, "ann")
        require_approvals(registry, "m", 1, Author(who="ann"))
        book = RolloutBook(registry)
        begun = book.begin(key, 1, Plan(), Author(who="ann"))
        waits = Change(state=RolloutState.PENDING, reason="waits for 1 approval")
        waiting = book.record(begun, waits, "engine")
        assert book.record(begun, waits, "engine") is None  # somebody was faster: told once
        approve(registry, key, EVE)
        approve(registry, key, EVE)
        assert waiting is not None
        book.record(waiting, Change(state=RolloutState.PREFLIGHT), "engine")
        events = [one.event for one in OutboxBook(registry).read("m")]

    told = [one for one in events if kind_of(one.type) in OF_ROLLOUTS]
    rollouts = [
        one
        for one in told
        if kind_of(one.type).startswith(("rollout.", "approval.g", "approval.requ"))
    ]
    assert [one.type.removeprefix("dev.bascule.") for one in rollouts] == [
        "rollout.pending.v1",
        "approval.requested.v1",
        "approval.granted.v1",
        "rollout.preflight.v1",
    ]
    assert '"missing_approval_count":0' in told[2].data
    assert EVE.reason in told[2].data
    assert {one.subject for one in told} == {"m/2"}
