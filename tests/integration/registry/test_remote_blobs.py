"""Bundles in an object store: fsspec's own in-memory one, and folders given as URLs."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from runtimes.errors import BasculeError, UnsupportedError
from serving.registry.bundles.bundle import read_bundle
from serving.registry.checker import check
from serving.registry.collection import Rules, collect
from serving.registry.store import Registry
from tests.fakes.bundles import make_bundle


@pytest.fixture
def store() -> str:
    """An empty store; this process is all of it."""
    return f"memory://t{uuid.uuid4().hex}"


@pytest.fixture
def shared(tmp_path: Path, store: str) -> Iterator[tuple[Registry, Registry]]:
    """Two machines: their homes share the catalog and the store, and nothing else."""
    url = f"sqlite:///{tmp_path / 'shared.sqlite'}"
    with (
        Registry(tmp_path / "one", url=url, blobs=store) as one,
        Registry(tmp_path / "two", url=url, blobs=store) as two,
    ):
        yield one, two


def files(store: str) -> list[str]:
    """The paths of all objects."""
    system, root = fsspec.core.url_to_fs(store)
    return sorted(path.removeprefix(root) for path in system.find(root))


def test_another_machine_fetches_what_was_pushed(
    shared: tuple[Registry, Registry], tmp_path: Path
) -> None:
    """Pushed on one, wanted on the other: from its own verified copy."""
    one, two = shared
    bundle = make_bundle(tmp_path / "b")
    one.push(bundle.folder, "ann")

    (spec,) = two.picture().wanted

    assert Path(spec.file).is_relative_to(tmp_path / "two")
    assert read_bundle(Path(spec.file).parent).digest == bundle.digest
    assert (check(one), check(two)) == ((), ())


def test_what_was_changed_in_the_store_is_not_served(
    shared: tuple[Registry, Registry], tmp_path: Path, store: str
) -> None:
    """A byte that differs is a version that cannot be loaded, and a problem for the checker."""
    one, two = shared
    pushed = one.push(make_bundle(tmp_path / "b").folder, "ann")
    system, root = fsspec.core.url_to_fs(store)
    system.pipe_file(f"{root}/bundles/{pushed.digest}/model.echo", b"Weights")

    assert two.picture().wanted == ()
    assert "not the file that was packed" in two.picture().failed[0].reason
    assert [problem.subject for problem in check(one)] == ["m:1"]
    assert list((tmp_path / "two" / "registry" / "bundles").iterdir()) == []


@pytest.mark.parametrize(("path", "content"), [("model.echo", b"Weights"), ("manifest.json", b"{")])
def test_a_push_repairs_what_was_changed_in_the_store(
    shared: tuple[Registry, Registry], tmp_path: Path, store: str, path: str, content: bytes
) -> None:
    """As the checker tells whoever asks; on every machine the version can be loaded again."""
    one, two = shared
    bundle = make_bundle(tmp_path / "b")
    pushed = one.push(bundle.folder, "ann")
    system, root = fsspec.core.url_to_fs(store)
    system.pipe_file(f"{root}/bundles/{pushed.digest}/{path}", content)
    (problem,) = check(one)

    one.push(bundle.folder, "ann")

    assert problem.remedy == "push its bundle again"
    assert check(one) == ()
    assert len(two.picture().wanted) == 1


def test_a_half_uploaded_bundle_is_not_there(
    shared: tuple[Registry, Registry], tmp_path: Path, store: str
) -> None:
    """Without its manifest it is a leftover: pushes complete it, collections remove it."""
    one, _ = shared
    bundle = make_bundle(tmp_path / "b")
    system, root = fsspec.core.url_to_fs(store)
    system.pipe_file(f"{root}/bundles/{bundle.digest}/model.echo", b"wei")

    before = [problem.is_leftover for problem in check(one)]
    collect(one, Rules(), "bob")
    collected = files(store)
    system.pipe_file(f"{root}/bundles/{bundle.digest}/model.echo", b"wei")
    one.push(bundle.folder, "ann")

    assert (before, collected) == ([True], [])
    assert check(one) == ()


def test_a_collected_version_leaves_the_store(
    shared: tuple[Registry, Registry], tmp_path: Path, store: str
) -> None:
    """Its objects and the home's copy go; the row stays."""
    one, _ = shared
    one.push(make_bundle(tmp_path / "b").folder, "ann")
    one.unwant("m", 1, "ann")

    collect(one, Rules(takes_archived=True, keep_days=0), "ann")

    assert files(store) == []
    assert one.blobs.digests() == frozenset()
    assert check(one) == ()


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_folder_is_used_as_it_is(tmp_path: Path, scheme: str) -> None:
    """Bundles in another folder are served from there, without a copy."""
    place = tmp_path / "elsewhere"
    with Registry(tmp_path / "home", blobs=f"{scheme}{place}") as registry:
        pushed = registry.push(make_bundle(tmp_path / "b").folder, "ann")

    assert pushed.folder == place / "bundles" / pushed.digest


@pytest.mark.parametrize("url", ["nonsense://x", "s3x://bucket"])
def test_a_place_that_nothing_can_read_is_refused(tmp_path: Path, url: str) -> None:
    """A URL of an unknown kind is told at once."""
    with pytest.raises(BasculeError, match=r"BASCULE_BLOBS .*://"):
        Registry(tmp_path / "home", blobs=url)


def test_a_missing_driver_is_named(tmp_path: Path) -> None:
    """A store whose package is not installed says which one is needed."""
    with pytest.raises(UnsupportedError, match="install the package that it names"):
        Registry(tmp_path / "home", blobs="adl://container/x")
