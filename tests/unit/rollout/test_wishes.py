"""What operators asked for outlives the controller that they asked."""

from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from serving.errors import NotReadyError
from serving.ids import VersionKey
from serving.registry.picture import Picture
from serving.registry.repository import FailedVersion
from serving.registry.version import VersionSpec
from serving.rollout.sources import LOOKS_BETWEEN, Selection, Sources
from serving.rollout.wishes import WishesFile
from tests.fakes.cluster import version_spec
from tests.fakes.sources import FakeFolder, FakeRegistry

A1, B1, B2 = VersionKey("a", 1), VersionKey("b", 1), VersionKey("b", 2)


def sources(file: Path, *specs: VersionSpec, mode: str = "explicit") -> Sources:
    """Sources as each controller of an instance builds them: told to load `a`."""
    load = ("a",) if mode == "explicit" else ()
    selection = Selection(mode=mode, load_model=load)
    return Sources(FakeRegistry(), FakeFolder(*specs), selection, wishes=WishesFile(file))


class LockedRegistry(FakeRegistry):
    """Tells that it changed, and cannot be read for a while."""

    is_locked = False

    def picture(self) -> Picture:
        """Refuse, or return what is known."""
        if self.is_locked:
            raise NotReadyError("the catalog is locked")
        return super().picture()


SPECS = (version_spec(A1), version_spec(B1))


def test_loads_and_unloads_are_remembered(tmp_path: Path) -> None:
    """The next controller wants what was loaded, and not what was named at start and unloaded."""
    file = tmp_path / "wishes.json"
    first = sources(file, *SPECS)
    assert first.read().versions.keys() == {A1}
    first.load("b")
    first.unload("a")
    first.read()

    assert sources(file, *SPECS).read().versions.keys() == {B1}


def test_nothing_loaded_is_a_wish_too(tmp_path: Path) -> None:
    """After the last unload the next controller loads nothing."""
    file = tmp_path / "wishes.json"
    first = sources(file, *SPECS)
    first.read()
    first.unload("a")
    first.read()

    after = sources(file, *SPECS).read()

    assert not after.versions
    assert after.known_models == {"a", "b"}


def test_a_model_stays_in_the_form_that_was_loaded(tmp_path: Path) -> None:
    """A folder that changed meanwhile is read at the next load, not by the next controller."""
    file = tmp_path / "wishes.json"
    first = sources(file, version_spec(B1))
    first.read()
    first.load("b")
    before = first.read().versions[B1]
    changed = sources(file, version_spec(B1, "other"), version_spec(B2))

    assert changed.read().versions == {B1: before}
    changed.load("b")
    assert changed.read().versions.keys() == {B1, B2}


@pytest.mark.parametrize("mode", ["none", "poll", "explicit"])
def test_what_was_taken_out_stays_out(tmp_path: Path, mode: str) -> None:
    """In every mode, until the version's files change."""
    file = tmp_path / "wishes.json"
    first = sources(file, *SPECS, mode=mode)
    first.read()
    first.retire("a", None, "operator")
    assert A1 not in first.read().versions

    after = sources(file, version_spec(A1), version_spec(B1), mode=mode)

    assert A1 not in after.read().versions


def test_wishes_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    """Nobody is told that a change was made that the next controller would not know."""
    kept = sources(tmp_path / "none" / "wishes.json", *SPECS)

    with pytest.raises(NotReadyError, match="cannot be kept"):
        kept.read()


def test_a_change_that_could_not_be_read_is_still_to_be_read(tmp_path: Path) -> None:
    """The catalog was away at that moment: the change is obeyed when it is back."""
    registry, file = LockedRegistry(version_spec(A1)), tmp_path / "run" / "wishes.json"
    file.parent.mkdir()
    kept = Sources(registry, FakeFolder(), Selection(), wishes=WishesFile(file))
    kept.read()
    registry.specs[B1], registry.count, registry.is_locked = version_spec(B1), 1, True
    with pytest.raises(NotReadyError, match="catalog is locked"):
        kept.read()
    assert kept.has_registry_changed()
    registry.is_locked = False
    assert kept.read().versions.keys() == {A1, B1}
    assert not kept.has_registry_changed()


class PartialRegistry(FakeRegistry):
    """One whose version b:1 cannot be looked at for now."""

    is_away = True

    def picture(self) -> Picture:
        """Return all that is known."""
        failed = FailedVersion(model="b", version=1, reason="no such disk", is_passing=True)
        return replace(super().picture(), failed=(failed,) if self.is_away else ())


def test_what_could_not_be_looked_at_is_looked_at_again(tmp_path: Path) -> None:
    """Without any change of the registry, after a while; and no more when it has been read."""
    registry = PartialRegistry(version_spec(A1))
    kept = Sources(registry, FakeFolder(), Selection(), wishes=WishesFile(tmp_path / "wishes"))
    assert kept.read().failed == {B1: "no such disk"}
    assert [kept.has_registry_changed() for _ in range(LOOKS_BETWEEN)] == [False] * LOOKS_BETWEEN
    assert kept.has_registry_changed()

    registry.is_away = False
    assert not kept.read().failed
    assert not any(kept.has_registry_changed() for _ in range(2 * LOOKS_BETWEEN))


@pytest.mark.parametrize("text", [b"", b"{", b'{"loaded": 3}', b"\xff\xfe"])
def test_a_damaged_file_is_told_and_ends_nothing(tmp_path: Path, text: bytes) -> None:
    """What was named at start is served, the log says what to do, and the file is kept beside."""
    file = tmp_path / "wishes.json"
    file.write_bytes(text)
    with capture_logs() as logs:
        assert sources(file, *SPECS).read().versions.keys() == {A1}
    (told,) = [line for line in logs if line["event"] == "wishes_lost"]
    assert "load and unload again" in told["remedy"]
    assert (tmp_path / "wishes.damaged").read_bytes() == text
    assert sources(file, *SPECS).read().versions.keys() == {A1}
