"""Which versions were loaded, went, or cannot be loaded: what of that is news."""

from serving.ids import VersionKey
from serving.registry.version import VersionState
from serving.rollout.version_news import LOADED, Sighting, news, standing

A, B = VersionKey("a", 1), VersionKey("b", 2)
READY, LOADING = Sighting(state=VersionState.READY), Sighting(state=VersionState.LOADING)
GONE = Sighting(state=VersionState.UNAVAILABLE)
BROKEN = Sighting(state=VersionState.UNAVAILABLE, failure="BP-D01 contract")


def told(before: dict[VersionKey, str], after: dict[VersionKey, str]) -> list[tuple[str, str]]:
    """Kinds and subjects of what is told."""
    return [(one.kind, one.subject) for one in news(before, after)]


def test_a_version_that_comes_and_goes_is_told_once_each() -> None:
    """Not while it is on its way; about the version."""
    on_its_way = standing({}, {A: LOADING})
    there = standing(on_its_way, {A: READY})
    leaving = standing(there, {A: Sighting(state=VersionState.UNLOADING)})
    gone = standing(leaving, {A: GONE})

    assert told({}, on_its_way) == []
    assert told(on_its_way, there) == [("version.loaded", "a/1")]
    assert told(there, leaving) == told(there, there) == []
    assert told(leaving, gone) == told(there, {}) == [("version.unloaded", "a/1")]


def test_a_worker_that_comes_back_is_no_news() -> None:
    """Its versions are on their way, and were there."""
    there = standing({}, {A: READY, B: READY})
    dead = standing(there, {A: LOADING, B: READY})

    assert dead == there
    assert told(dead, standing(dead, {A: READY, B: READY})) == []


def test_what_cannot_be_loaded_is_told_with_its_reason() -> None:
    """Once for each reason; what is mended is loaded, and what was given up is not told."""
    broken = standing({}, {A: BROKEN})

    (first,) = news({}, broken)
    assert (first.kind, first.data["reason"]) == ("version.load_failed", "BP-D01 contract")
    assert told(broken, standing(broken, {A: BROKEN})) == []
    assert told(broken, {A: "BP-R01 golden"}) == [("version.load_failed", "a/1")]
    assert told(broken, {A: LOADED}) == [("version.loaded", "a/1")]
    assert told(broken, standing(broken, {})) == []
