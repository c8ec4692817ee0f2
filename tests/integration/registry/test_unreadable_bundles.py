"""A bundle that cannot be looked at for now, or not by this user, is no other version's trouble."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.registry import stored_version
from serving.registry.bundles.bundle import Head, read_head
from serving.registry.store import Registry
from tests.fakes.bundles import make_bundle


@pytest.fixture
def two(registry: Registry, tmp_path: Path) -> Registry:
    """A registry with a version of `m` and one of `n`."""
    for name in ("m", "n"):
        registry.push(make_bundle(tmp_path / name, name=name).folder, "ann")
    return registry


def forbidding(name: str) -> Callable[[Path], Head]:
    """Read bundles, but for those of a model, which nobody may."""

    def read(folder: Path) -> Head:
        head = read_head(folder)
        if head.manifest.name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return head

    return read


def test_the_other_versions_are_wanted(two: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that cannot be read says who must be able to, and is there when that is so."""
    monkeypatch.setattr(stored_version, "read_head", forbidding("m"))
    picture = two.picture()

    assert [spec.model for spec in picture.wanted] == ["n"]
    assert [one.model for one in picture.failed] == ["m"]
    assert "Permission denied: user " in picture.failed[0].reason
    assert picture.is_partial

    monkeypatch.undo()
    healed = two.picture()
    assert [spec.model for spec in healed.wanted] == ["m", "n"]
    assert not healed.is_partial


def test_a_version_that_was_read_before_stays(
    two: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What serves is not taken out because a file system does not answer for a moment."""
    before = two.picture()
    os.utime(two.folder("m", 1) / "manifest.json", ns=(1, 1))
    monkeypatch.setattr(stored_version, "read_head", forbidding("m"))

    assert two.picture() == before
