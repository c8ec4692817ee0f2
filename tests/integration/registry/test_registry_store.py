"""The registry on a real database and file system: what is stored, kept and refused."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from runtimes.errors import InvalidArgumentError
from serving.errors import AlreadyExistsError, NotFoundError
from serving.registry.bundles.bundle import read_bundle
from serving.registry.store import Registry
from serving.registry.version import VersionSpec
from tests.fakes.bundles import PACKED_UTC, make_bundle


def keys(specs: Iterable[VersionSpec]) -> list[str]:
    """What versions are wanted, as text."""
    return [str(spec.key) for spec in specs]


def test_a_pushed_version_is_wanted(registry: Registry, tmp_path: Path) -> None:
    """What was pushed is there to be loaded, with its configuration, from the registry's copy."""
    bundle = make_bundle(tmp_path / "b")

    pushed = registry.push(bundle.folder, "ann")

    (spec,) = registry.picture().wanted
    assert pushed.created
    assert (str(spec.key), spec.format, spec.digest) == ("m:1", "echo", bundle.digest)
    assert spec.policy.max_batch_rows == 8
    assert Path(spec.file).read_bytes() == b"weights"
    assert Path(spec.file).parent == pushed.folder
    assert read_bundle(pushed.folder).digest == bundle.digest


def test_a_push_takes_no_traffic_from_another_version(registry: Registry, tmp_path: Path) -> None:
    """The first version pushed is live; a second one is loaded and waits for its promotion."""
    registry.push(make_bundle(tmp_path / "a").folder, "ann")
    registry.push(make_bundle(tmp_path / "b", version=2, content=b"other").folder, "ann")

    assert registry.picture().pinned_live == {"m": 1}


def test_pushing_twice_changes_nothing(registry: Registry, tmp_path: Path) -> None:
    """The same bundle, or the same content packed later, is there already: no copy, no event."""
    registry.push(make_bundle(tmp_path / "a").folder, "ann")
    counter = registry.change_counter()
    later = make_bundle(tmp_path / "b", packed_utc=PACKED_UTC + timedelta(days=1))

    again = [registry.push(tmp_path / "a" / "bundle", "bob"), registry.push(later.folder, "bob")]

    assert [item.created for item in again] == [False, False]
    assert registry.change_counter() == counter
    assert len(list(again[0].folder.parent.iterdir())) == 1


def test_a_version_never_changes(registry: Registry, tmp_path: Path) -> None:
    """Other content under a number that is taken is refused, and leaves nothing behind."""
    pushed = registry.push(make_bundle(tmp_path / "a").folder, "ann")
    other = make_bundle(tmp_path / "b", content=b"other")

    with pytest.raises(AlreadyExistsError, match="m:1 exists with other content"):
        registry.push(other.folder, "bob")

    assert list(pushed.folder.parent.iterdir()) == [pushed.folder]


def test_a_number_is_never_used_again(registry: Registry, tmp_path: Path) -> None:
    """An archived version keeps its number; pushed again, it is wanted again."""
    bundle = make_bundle(tmp_path / "a")
    registry.push(bundle.folder, "ann")
    registry.unwant("m", None, "ann")
    other = make_bundle(tmp_path / "b", content=b"other")
    archived = registry.picture().wanted

    with pytest.raises(AlreadyExistsError):
        registry.push(other.folder, "ann")
    registry.push(bundle.folder, "ann")

    assert archived == ()
    assert keys(registry.picture().wanted) == ["m:1"]


def test_the_next_number_is_free_or_the_contents_own(registry: Registry, tmp_path: Path) -> None:
    """Known content keeps its number; new content gets one above all that were ever used."""
    known = make_bundle(tmp_path / "a", version=3)
    registry.push(known.folder, "ann")
    new = make_bundle(tmp_path / "b", content=b"other")

    assert registry.next_version(known.manifest) == 3
    assert registry.next_version(new.manifest) == 4


def test_archiving_takes_one_version_or_all(registry: Registry, tmp_path: Path) -> None:
    """`unwant` archives what it names; the model is still known."""
    for version in (1, 2, 3):
        registry.push(make_bundle(tmp_path / str(version), version=version).folder, "ann")

    registry.unwant("m", 2, "ann")
    after_one = keys(registry.picture().wanted)
    registry.unwant("m", None, "ann")

    assert after_one == ["m:1", "m:3"]
    assert registry.picture().wanted == ()
    assert registry.models() == {"m"}


def test_what_is_not_wanted_cannot_be_archived(registry: Registry) -> None:
    """Archiving something unknown says so."""
    with pytest.raises(NotFoundError, match="nothing of 'm:1'"):
        registry.unwant("m", 1, "ann")


def test_only_what_was_pushed_can_be_wanted(registry: Registry) -> None:
    """Wanting a version that was never pushed says so."""
    with pytest.raises(NotFoundError, match="push it first"):
        registry.want("m", 1, "ann")


def test_promotions_are_kept(home: Path, registry: Registry) -> None:
    """A promotion, also of a model that was never pushed, outlives the process."""
    registry.pin_live("from-a-repository", 1, "ann")
    registry.pin_live("from-a-repository", 2, "bob")
    registry.close()

    with Registry(home) as again:
        assert again.picture().pinned_live == {"from-a-repository": 2}


def test_archiving_the_live_version_forgets_the_promotion(
    registry: Registry, tmp_path: Path
) -> None:
    """No model stays promoted to a version that is gone; other promotions stay."""
    for version in (1, 2):
        registry.push(make_bundle(tmp_path / str(version), version=version).folder, "ann")
    registry.pin_live("m", 2, "ann")

    registry.unwant("m", 1, "ann")
    kept = registry.picture().pinned_live
    registry.unwant("m", 2, "ann")

    assert kept == {"m": 2}
    assert registry.picture().pinned_live == {}


def test_a_reason_that_is_no_utf8_is_refused(registry: Registry, tmp_path: Path) -> None:
    """What a terminal of another encoding sends ends no command in a traceback; nothing is kept."""
    bundle = make_bundle(tmp_path).folder
    with pytest.raises(InvalidArgumentError, match="write texts in UTF-8"):
        registry.push(bundle, "ann", reason="caf\udce9")

    assert registry.events() == ()
    assert registry.push(bundle, "ann", reason="café").created


def test_every_change_is_counted_and_told(registry: Registry, tmp_path: Path) -> None:
    """The counter rises with each change, and the events say who did what."""
    counters = [registry.change_counter()]
    registry.push(make_bundle(tmp_path).folder, "ann")
    counters.append(registry.change_counter())
    registry.pin_live("m", 1, "bob")
    counters.append(registry.change_counter())
    registry.unwant("m", 1, "dee")
    counters.append(registry.change_counter())

    assert counters == sorted(set(counters))
    assert [(item.who, item.action, item.version) for item in registry.events("m")] == [
        ("dee", "unpin_live", 1),
        ("dee", "unwant", 1),
        ("bob", "pin_live", 1),
        ("ann", "pin_live", 1),
        ("ann", "push", 1),
    ]
    assert registry.events("other") == ()


def test_a_damaged_bundle_is_not_pushed(registry: Registry, tmp_path: Path) -> None:
    """A bundle that was damaged on its way is refused, and nothing of it stays."""
    bundle = make_bundle(tmp_path)
    (bundle.folder / "model.echo").chmod(0o644)
    (bundle.folder / "model.echo").write_bytes(b"Weights")

    with pytest.raises(InvalidArgumentError, match="not the file that was packed"):
        registry.push(bundle.folder, "ann")

    assert registry.models() == frozenset()


def test_a_damaged_copy_is_repaired_by_a_push(registry: Registry, tmp_path: Path) -> None:
    """Pushing the sound bundle again replaces a copy that rotted."""
    bundle = make_bundle(tmp_path)
    pushed = registry.push(bundle.folder, "ann")
    (pushed.folder / "model.echo").unlink()

    registry.push(bundle.folder, "ann")

    assert read_bundle(pushed.folder).digest == bundle.digest


def test_kind_auto_follows_the_node(home: Path, registry: Registry, tmp_path: Path) -> None:
    """A version that leaves the device open runs on the GPU of a node that has one."""
    registry.push(make_bundle(tmp_path).folder, "ann")

    with Registry(home, gpu=True) as with_gpu:
        assert with_gpu.picture().wanted[0].policy.device == "cuda"
    assert registry.picture().wanted[0].policy.device == "cpu"


def test_a_version_knows_what_its_files_must_be(registry: Registry, tmp_path: Path) -> None:
    """Whoever loads it can compare: folder, path, size and digest of every file."""
    bundle = make_bundle(tmp_path / "b")
    pushed = registry.push(bundle.folder, "ann")

    (spec,) = registry.picture().wanted

    assert spec.folder == str(pushed.folder)
    assert [(file.path, file.size_bytes, file.sha256) for file in spec.files] == [
        (file.path, file.size_bytes, file.sha256) for file in bundle.manifest.files
    ]


def test_a_manifest_that_was_changed_later_is_refused(registry: Registry, tmp_path: Path) -> None:
    """The stored manifest must have the digest that was pushed; the others go on."""
    pushed = registry.push(make_bundle(tmp_path / "a").folder, "ann")
    registry.push(make_bundle(tmp_path / "b", name="n").folder, "ann")
    manifest = pushed.folder / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text(manifest.read_text().replace('"licence": ""', '"licence": "MIT"'))

    assert keys(registry.picture().wanted) == ["n:1"]
    (failed,) = registry.picture().failed
    assert (failed.model, failed.version) == ("m", 1)
    assert failed.reason.startswith("BP-F01 manifest.json: it is not the one that was pushed")
