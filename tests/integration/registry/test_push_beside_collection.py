"""A collection that removes a bundle while it is pushed: the push copies it anew."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from serving.registry import blobs
from serving.registry.bundles.bundle import Bundle, Head
from serving.registry.bundles.keys import SigningKey
from serving.registry.bundles.manifest import BundleFile
from serving.registry.bundles.signing import sign_bundle
from serving.registry.checker import check
from serving.registry.collection import Rules, collect
from serving.registry.store import Registry
from tests.fakes.bundles import make_bundle

ARCHIVED = Rules(takes_archived=True, keep_days=0)


class Collections:
    """Lets a collection run, once, right after the registry has read its copy of a bundle."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._left = 1

    def after(self, read: Callable[[Path], Bundle | Head]) -> Callable[[Path], Bundle | Head]:
        """Wrap what reads a bundle."""

        def reading(folder: Path) -> Bundle | Head:
            found = read(folder)
            if "registry" in folder.parts and self._left:
                self._left -= 1
                collect(self._registry, ARCHIVED, "gc")
                assert not folder.exists()
            return found

        return reading


@pytest.mark.parametrize("reader", ["read_bundle", "read_head"])
@pytest.mark.parametrize("is_signed", [False, True])
def test_an_archived_version_is_pushed_again_while_it_is_collected(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, *, is_signed: bool
) -> None:
    """Whichever step of the push the collection falls into, the version is whole afterwards."""
    bundle = make_bundle(tmp_path / "b").folder
    with Registry(home) as registry:
        registry.push(bundle, "ann")
        registry.unwant("m", 1, "ann")
        if is_signed:
            sign_bundle(bundle, SigningKey.new())
        collections = Collections(registry)
        monkeypatch.setattr(blobs, reader, collections.after(getattr(blobs, reader)))

        registry.push(bundle, "ann")

        assert [spec.version for spec in registry.picture().wanted] == [1]
        assert check(registry) == ()


def test_the_copy_is_collected_before_it_is_in_the_store(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an object store the bundle passes through the home's copy: it is made anew."""
    bundle = make_bundle(tmp_path / "b").folder
    put, left = MemoryFileSystem.put_file, [1]

    def putting(store: MemoryFileSystem, copy: str, key: str) -> None:
        if left:
            left.pop()
            shutil.rmtree(Path(copy).parent)
        put(store, copy, key)

    with Registry(home, blobs=f"memory://t{uuid.uuid4().hex}") as registry:
        monkeypatch.setattr(MemoryFileSystem, "put_file", putting)
        registry.push(bundle, "ann")

        assert left == []
        assert check(registry) == ()


def test_another_push_is_faster_and_collected_at_once(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the place was taken, and is free again a moment later, is no fault of either push."""
    bundle = make_bundle(tmp_path / "b")
    copy, rename, left = blobs.copy_file, Path.rename, [1]

    def copying(source: Path, target: Path, path: str) -> BundleFile:
        if left:
            left.pop()
            shutil.copytree(bundle.folder, home / "registry" / "bundles" / bundle.digest)
        return copy(source, target, path)

    def renaming(source: Path, target: Path) -> Path:
        try:
            return rename(source, target)
        except OSError:
            shutil.rmtree(target)
            raise

    with Registry(home) as registry:
        monkeypatch.setattr(blobs, "copy_file", copying)
        monkeypatch.setattr(Path, "rename", renaming)
        registry.push(bundle.folder, "ann")

        assert left == []
        assert check(registry) == ()
