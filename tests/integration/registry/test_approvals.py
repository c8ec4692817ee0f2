"""Approvals in the catalog: who may vouch, for what, and what a version without them cannot do."""

from pathlib import Path

import pytest

from serving.errors import NotFoundError, UntrustedError
from serving.ids import VersionKey
from serving.registry.aliases import Author
from serving.registry.approvals import approve, require_approvals, rules, standings
from serving.registry.rollouts.book import RolloutBook
from serving.registry.rollouts.plan import Plan
from serving.registry.store import Registry
from tests.fakes.bundles import make_bundle

ANN, BOB, EVE = Author(who="ann"), Author(who="bob"), Author(who="eve")


def pushed(registry: Registry, folder: Path, version: int = 1) -> VersionKey:
    """Ann pushes a version of `m`."""
    bundle = make_bundle(folder / str(version), version=version, content=b"%d" % version)
    registry.push(bundle.folder, "ann")
    return VersionKey("m", version)


def test_the_first_version_waits_too(registry: Registry, tmp_path: Path) -> None:
    """With a rule from before the push nothing is live until the last approval."""
    assert require_approvals(registry, "m", 2, EVE) == 0
    key = pushed(registry, tmp_path)
    assert not registry.picture().pinned_live
    assert registry.picture().unapproved == frozenset({key})

    assert approve(registry, key, BOB).missing == 1
    assert registry.picture().pinned_live == {}
    approve(registry, key, EVE)

    assert (registry.picture().pinned_live, registry.picture().unapproved) == (
        {"m": 1},
        frozenset(),
    )


def test_only_one_version_becomes_live_by_its_approval(registry: Registry, tmp_path: Path) -> None:
    """The second version that is approved waits for a promotion, as a second push does."""
    require_approvals(registry, "m", 1, EVE)
    keys = [pushed(registry, tmp_path, number) for number in (1, 2)]
    for key in reversed(keys):
        approve(registry, key, BOB)
    assert registry.picture().pinned_live == {"m": 2}


def test_the_pusher_and_the_same_person_twice_do_not_count(
    registry: Registry, tmp_path: Path
) -> None:
    """Two approvals are those of two people, neither of whom pushed the version."""
    require_approvals(registry, "m", 2, EVE)
    key = pushed(registry, tmp_path)
    with pytest.raises(UntrustedError, match="somebody else must approve"):
        approve(registry, key, ANN)
    approve(registry, key, BOB)
    again = approve(registry, key, BOB)

    assert (again.missing, [one.who for one in again.approvals]) == (1, ["bob"])
    assert sum(event.action == "approve" for event in registry.events()) == 1


def test_what_is_live_stays_live_under_a_new_rule(registry: Registry, tmp_path: Path) -> None:
    """A rule is about moves: the live version stays; a promotion of another is refused."""
    pushed(registry, tmp_path, 1)
    second = pushed(registry, tmp_path, 2)
    require_approvals(registry, "m", 1, EVE)
    assert registry.picture().pinned_live == {"m": 1}

    with pytest.raises(UntrustedError, match=r"waits for 1 approval \(bascule approve m:2\)"):
        registry.pin_live("m", 2, "ann")
    assert registry.picture().pinned_live == {"m": 1}
    approve(registry, second, BOB)
    registry.pin_live("m", 2, "ann")
    assert registry.picture().pinned_live == {"m": 2}


def test_a_new_rule_ends_no_service_that_nobody_promoted(
    registry: Registry, tmp_path: Path
) -> None:
    """Where the highest version is live by itself, a rule that would stop it promotes it."""
    pushed(registry, tmp_path, 1)
    pushed(registry, tmp_path, 2)
    registry.unwant("m", 1, "ann")
    registry.want("m", 1, "ann")
    require_approvals(registry, "m", 1, EVE)
    assert registry.picture().pinned_live == {"m": 2}


def test_a_rollout_says_what_it_waits_for(registry: Registry, tmp_path: Path) -> None:
    """A rollout counts the approvals that are missing when it is read."""
    require_approvals(registry, "m", 1, EVE)
    approve(registry, pushed(registry, tmp_path, 1), BOB)
    key = pushed(registry, tmp_path, 2)
    book = RolloutBook(registry)

    assert book.begin(key, 1, Plan(), ANN).missing_approval_count == 1
    approve(registry, key, BOB)

    assert [one.missing_approval_count for one in book.active("m")] == [0]


def test_the_standing_names_the_digest(registry: Registry, tmp_path: Path) -> None:
    """What was approved is recorded; what is not there cannot be approved; a rule can be ended."""
    require_approvals(registry, "m", 1, EVE)
    key = pushed(registry, tmp_path)
    approve(registry, key, Author(who="bob", reason="read it"))
    (found,) = standings(registry, "m")
    (row,) = registry.versions("m")
    assert (found.missing, found.approvals[0].digest) == (0, row.digest)
    assert found.approvals[0].reason == "read it"

    with pytest.raises(NotFoundError, match="push it first"):
        approve(registry, VersionKey("m", 9), BOB)
    require_approvals(registry, "m", 0, EVE)
    assert rules(registry) == {}
