"""Garbage collection: what goes, what stays, and what the checker says before and after."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runtimes.errors import BasculeError
from serving.errors import NotFoundError
from serving.ids import VersionKey
from serving.registry.aliases import Author, set_alias
from serving.registry.bundles.bundle import read_bundle
from serving.registry.checker import check
from serving.registry.collection import Rules, collect
from serving.registry.store import Registry
from tests.fakes.bundles import make_bundle

KEY = VersionKey("m", 2)
ALL = Rules(takes_archived=True)


class LaterClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_utc = datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic_s(self) -> float:
        """Not asked."""
        return 0.0

    def utc_now(self) -> datetime:
        """The test's time."""
        return self.now_utc


@pytest.fixture
def clock() -> LaterClock:
    """A clock at the first of January."""
    return LaterClock()


@pytest.fixture
def archived(home: Path, tmp_path: Path, clock: LaterClock) -> Registry:
    """A registry with m:1 live and m:2 archived 31 days ago."""
    registry = Registry(home, clock=clock)
    for version in (1, 2):
        content = str(version).encode()
        bundle = make_bundle(tmp_path / str(version), version=version, content=content)
        registry.push(bundle.folder, "ann")
    registry.unwant("m", 2, "ann", reason="replaced")
    clock.now_utc += timedelta(days=31)
    return registry


def left(registry: Registry) -> int:
    """How many bundles are there."""
    return len(registry.blobs.digests())


def test_an_archived_version_keeps_its_files(archived: Registry) -> None:
    """Without being told to, a collection takes nothing that any version refers to."""
    assert collect(archived, Rules(), "bob").versions == ()
    assert left(archived) == 2


def test_an_old_archived_version_loses_its_files(archived: Registry) -> None:
    """Told to, it takes them; the row stays, says when, and everything agrees."""
    done = collect(archived, ALL, "bob")

    row = archived.versions("m")[1]
    assert (done.versions, len(done.bundles), left(archived)) == ((KEY,), 1, 1)
    assert row.collected_utc == archived.clock.utc_now()
    assert archived.events()[0].action == "collect"
    assert check(archived) == ()
    with pytest.raises(NotFoundError, match="its files were collected at 2026-02-01"):
        archived.want("m", 2, "ann")


def test_a_dry_run_tells_the_same_and_takes_nothing(archived: Registry) -> None:
    """What would go is what goes."""
    foreseen = collect(archived, Rules(takes_archived=True, is_dry=True), "bob")

    assert left(archived) == 2
    assert foreseen == collect(archived, ALL, "bob")


@pytest.mark.parametrize(
    "rules",
    [
        Rules(takes_archived=True, keep_days=32),
        Rules(takes_archived=True, keep_days=1_000_000),
        Rules(takes_archived=True, keep_days=math.inf),
        Rules(takes_archived=True, deployed=frozenset({KEY})),
    ],
    ids=["too young", "before the year 1", "for ever", "deployed"],
)
def test_what_is_needed_stays(archived: Registry, rules: Rules) -> None:
    """A version that was archived lately, or is still loaded, keeps its files."""
    assert collect(archived, rules, "bob").versions == ()
    assert left(archived) == 2


def test_an_alias_keeps_the_files(archived: Registry) -> None:
    """A version that a name stands for keeps its files."""
    set_alias(archived, KEY, "rollback", Author(who="ann"))

    assert collect(archived, ALL, "bob").versions == ()
    assert left(archived) == 2


def test_a_collected_version_can_be_pushed_again(archived: Registry, tmp_path: Path) -> None:
    """The same bundle brings the version back as it was."""
    collect(archived, ALL, "bob")

    archived.push(tmp_path / "2" / "bundle", "ann")

    assert [spec.version for spec in archived.picture().wanted] == [1, 2]
    assert check(archived) == ()


def test_a_bundle_without_a_version_goes(registry: Registry, tmp_path: Path) -> None:
    """What a killed push left is told as a leftover, and goes."""
    registry.blobs.add(make_bundle(tmp_path / "b").folder)
    before = check(registry)

    done = collect(registry, Rules(), "bob")

    assert [problem.is_leftover for problem in before] == [True]
    assert (len(done.bundles), left(registry), check(registry)) == (1, 0, ())
    assert done.size_bytes > 0


def test_a_bundle_that_goes_during_a_push_is_copied_again(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collection between the copy and the row costs a push a second copy, and no version."""
    registry = Registry(home)
    copied = registry.blobs.add
    collections = [1]

    def add_and_lose(source: Path) -> object:
        bundle = copied(source)
        if collections.pop() if collections else 0:
            collect(registry, Rules(), "bob")
        return bundle

    monkeypatch.setattr(registry.blobs, "add", add_and_lose)
    pushed = registry.push(make_bundle(tmp_path / "b").folder, "ann")

    assert pushed.created
    assert read_bundle(pushed.folder).digest == pushed.digest
    assert check(registry) == ()


def test_the_checker_names_what_is_damaged(registry: Registry, tmp_path: Path) -> None:
    """A changed byte and missing files are problems of their versions."""
    for version in (1, 2, 3):
        bundle = make_bundle(tmp_path / str(version), version=version, content=b"%d" % version)
        registry.push(bundle.folder, "ann")
    folders = [registry.blobs.folder(row.digest) for row in registry.versions()]
    (folders[0] / "model.echo").chmod(0o644)
    (folders[0] / "model.echo").write_bytes(b"x")
    folders[1].rename(tmp_path / "elsewhere")

    found = check(registry)

    assert [problem.subject for problem in found] == ["m:1", "m:2"]
    assert not any(problem.is_leftover for problem in found)


def test_wanting_what_was_never_pushed_is_refused(registry: Registry) -> None:
    """An alias stands only for what is there."""
    with pytest.raises(BasculeError, match="m:2 is not in the registry"):
        set_alias(registry, KEY, "staging", Author(who="ann"))
