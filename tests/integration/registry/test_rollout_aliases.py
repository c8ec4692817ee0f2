"""What changes of a rollout do to the alias `live`."""

from pathlib import Path

from serving.ids import VersionKey
from serving.registry.aliases import Author
from serving.registry.rollouts.book import RolloutBook
from serving.registry.rollouts.plan import Plan
from serving.registry.rollouts.record import Change, RolloutState
from serving.registry.store import Registry
from tests.fakes.bundles import make_bundle


def not_live(registry: Registry) -> None:
    """Take the promotion from a version that is wanted: a push makes the first one live."""
    registry.unwant("m", 1, "ann")
    registry.want("m", 1, "ann")
    assert registry.picture().pinned_live == {}


def test_a_way_back_to_nothing_leaves_no_promotion(registry: Registry, tmp_path: Path) -> None:
    """No version was live before the rollout: after it `live` names none, as the audit log says."""
    registry.push(make_bundle(tmp_path / "1", version=1, content=b"1").folder, "ann")
    not_live(registry)
    book = RolloutBook(registry)
    rollout = book.begin(VersionKey("m", 1), None, Plan(), Author(who="ann"))
    flipped = book.record(rollout, Change(state=RolloutState.SWITCHED, live=1), "engine")
    assert flipped is not None
    assert registry.picture().pinned_live == {"m": 1}
    paused = book.record(flipped, Change(state=RolloutState.SWITCHED, is_paused=True), "ann")
    assert paused is not None
    assert registry.picture().pinned_live == {"m": 1}
    assert book.record(paused, Change(state=RolloutState.ROLLING_BACK), "ann") is not None
    assert registry.picture().pinned_live == {}
    assert [one.action for one in registry.events("m")].count("unpin_live") == 2


def test_a_push_during_a_rollout_makes_nothing_live(registry: Registry, tmp_path: Path) -> None:
    """Nothing is live, and a rollout is about to change that: a version pushed now is not it."""
    registry.push(make_bundle(tmp_path / "1", version=1, content=b"1").folder, "ann")
    not_live(registry)
    book = RolloutBook(registry)
    rollout = book.begin(VersionKey("m", 1), None, Plan(), Author(who="ann"))
    registry.push(make_bundle(tmp_path / "2", version=2, content=b"2").folder, "bob")
    assert registry.picture().pinned_live == {}
    assert book.record(rollout, Change(state=RolloutState.FAILED), "engine") is not None
    registry.push(make_bundle(tmp_path / "3", version=3, content=b"3").folder, "bob")
    assert registry.picture().pinned_live == {"m": 3}
