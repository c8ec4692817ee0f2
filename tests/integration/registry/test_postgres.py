"""The catalog on a real PostgreSQL server."""

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sql
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from runtimes.errors import BasculeError, InvalidArgumentError, UnsupportedError
from serving.cli.main import main
from serving.edge.control import PageForm
from serving.errors import AlreadyExistsError, NotReadyError
from serving.events.outbox_book import OutboxBook
from serving.events.receivers import Receiver, Tally
from serving.ids import VersionKey
from serving.registry import audit
from serving.registry.aliases import Author
from serving.registry.announcing.event_types import kind_of
from serving.registry.announcing.outbox import Announcement
from serving.registry.checker import check
from serving.registry.collection import Rules, collect
from serving.registry.picture import read_rows
from serving.registry.rollouts.book import ENGINE, RolloutBook
from serving.registry.rollouts.plan import Plan, Step, Strategy
from serving.registry.rollouts.record import Change, RolloutState
from serving.registry.schema import METADATA
from serving.registry.store import Registry
from serving.rollout.report.writing import written
from serving.settings import without_password
from tests.fakes.bundles import PACKED_UTC, make_bundle
from tests.fakes.histories import KEPT
from tests.fakes.postgres import PASSWORD
from tests.integration.registry.test_concurrent_pushes import push_at_once


def test_the_life_of_a_version(home: Path, postgres_url: str, tmp_path: Path) -> None:
    """Pushed, promoted, archived and collected as on SQLite; everything agrees at the end."""
    with Registry(home, url=postgres_url) as registry:
        registry.push(make_bundle(tmp_path / "1").folder, "ann")
        registry.push(make_bundle(tmp_path / "2", version=2, content=b"other").folder, "ann")
        registry.pin_live("m", 2, "bob", reason="better")
        registry.unwant("m", 1, "bob")
        done = collect(registry, Rules(takes_archived=True, keep_days=0), "bob")
        actions = [event.action for event in registry.events()]

        assert [key.version for key in done.versions] == [1]
        assert [spec.version for spec in registry.picture().wanted] == [2]
        assert actions == ["collect", "unwant", "pin_live", "push", "pin_live", "push"]
        told = [kind_of(one.event.type) for one in OutboxBook(registry).read("m")]
        assert check(registry) == ()
    assert told[-3:] == ["live.moved", "version.archived", "version.collected"]
    assert not (home / "registry" / "catalog.sqlite").exists()


@pytest.mark.parametrize("reason", ["caf\udce9", "a\0b"])
def test_a_text_that_the_server_does_not_keep_is_the_callers(
    home: Path, postgres_url: str, tmp_path: Path, reason: str
) -> None:
    """It is refused as such, and the catalog is not called damaged for it."""
    with Registry(home, url=postgres_url) as registry:
        bundle = make_bundle(tmp_path / "1").folder
        with pytest.raises(InvalidArgumentError, match=r"cannot be kept.*in UTF-8, without NUL"):
            registry.push(bundle, "ann", reason=reason)
        assert registry.versions() == ()


def test_a_picture_is_of_one_moment(home: Path, postgres_url: str, tmp_path: Path) -> None:
    """What others change between two of its statements is in the next picture."""
    with Registry(home, url=postgres_url) as registry, Registry(home, url=postgres_url) as other:
        registry.push(make_bundle(tmp_path / "1").folder, "ann")
        registry.pin_live("m", 1, "ann")
        with registry.database.snapshot() as connection:
            before = read_rows(connection, PACKED_UTC)
            other.push(make_bundle(tmp_path / "2", version=2, content=b"other").folder, "bob")
            other.pin_live("m", 2, "bob")
            again = read_rows(connection, PACKED_UTC)
        after = registry.picture()

    assert again == before
    assert (dict(before.pinned_live), dict(after.pinned_live)) == ({"m": 1}, {"m": 2})
    assert [spec.version for spec in after.wanted] == [1, 2]


def test_migrations_make_the_same_schema(home: Path, postgres_url: str) -> None:
    """After all migrations the database has exactly the tables that the code describes."""
    with Registry(home, url=postgres_url) as registry, registry.database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


@pytest.mark.parametrize(
    "statement", ["UPDATE events SET who = 'eve'", "DELETE FROM events", "TRUNCATE events"]
)
def test_events_are_only_ever_added(
    home: Path, postgres_url: str, tmp_path: Path, statement: str
) -> None:
    """The database refuses to change, remove or empty the audit log."""
    with Registry(home, url=postgres_url) as registry:
        registry.push(make_bundle(tmp_path / "1").folder, "ann")
        with (
            pytest.raises(BasculeError, match="events are only ever added"),
            registry.database.changing() as connection,
        ):
            connection.execute(sql.text(statement))
        with registry.database.reading() as connection:
            assert audit.verify(connection).event_count == 2


def test_one_of_two_machines_wins(tmp_path: Path, postgres_url: str) -> None:
    """Homes that share nothing but the database push one number: one wins, in a new database."""
    bundles = [
        make_bundle(tmp_path / str(index), content=f"{index}".encode()).folder for index in range(4)
    ]
    homes = [tmp_path / f"home{index}" for index in range(4)]

    assert push_at_once(homes, bundles, url=postgres_url) == ["True", *["already_exists"] * 3]

    with Registry(homes[0], url=postgres_url) as registry:
        assert [event.action for event in registry.events()] == ["pin_live", "push"]


def test_the_loser_is_told_both_digests(home: Path, postgres_url: str, tmp_path: Path) -> None:
    """What is there and what was brought are named."""
    here = make_bundle(tmp_path / "1")
    other = make_bundle(tmp_path / "2", content=b"x", packed_utc=PACKED_UTC + timedelta(days=1))
    with Registry(home, url=postgres_url) as registry:
        registry.push(here.folder, "ann")
        with pytest.raises(AlreadyExistsError) as refusal:
            registry.push(other.folder, "bob")

    assert here.digest[:12] in refusal.value.message
    assert other.digest[:12] in refusal.value.message


def test_a_wrong_password_is_not_repeated(home: Path, postgres_url: str) -> None:
    """A server that refuses is told by its address, without the password."""
    wrong = postgres_url.replace(PASSWORD, "wr0ng-s3cret")

    with pytest.raises(NotReadyError) as refusal:
        Registry(home, url=wrong)

    assert "bascule:***@127.0.0.1" in refusal.value.message
    assert "wr0ng-s3cret" not in refusal.value.message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bascule:s3cret@127.0.0.1:1/x",
        "postgresql://127.0.0.1:1/x?user=bascule&password=s3cret",
        "postgresql://bascule:s3cret@127.0.0.1:no/x",
        "bascule:s3cret@127.0.0.1",
        "mysql://bascule:s3cret@127.0.0.1/x",
    ],
    ids=["no server", "in the query", "no port", "no URL", "another database"],
)
def test_no_error_tells_the_password(
    home: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with the URL, neither the error nor the command line repeats a secret."""
    with pytest.raises(BasculeError) as refusal:
        Registry(home, url=url)
    monkeypatch.setenv("BASCULE_HOME", str(home))
    monkeypatch.setenv("BASCULE_REGISTRY_URL", url)
    for words in (["list"], ["config"], ["config", "--json"]):
        with pytest.raises(SystemExit):
            main(words)
    said = capsys.readouterr()

    assert "s3cret" not in refusal.value.message
    assert "s3cret" not in said.out
    assert "s3cret" not in said.err


@pytest.mark.parametrize("scheme", ["oracle", "postgresql+psycopg2"])
def test_other_databases_are_refused(home: Path, scheme: str) -> None:
    """Only databases that are tested are accepted."""
    with pytest.raises(UnsupportedError, match=r"PostgreSQL .* or SQLite"):
        Registry(home, url=f"{scheme}://u:p@127.0.0.1/x")


def test_a_password_with_an_at_sign_is_hidden_as_a_whole() -> None:
    """Only the last @ ends a password."""
    assert without_password("postgresql://u:p@ss@h/x") == "postgresql://u:***@h/x"


def test_a_rollout_is_reported_on(home: Path, postgres_url: str, tmp_path: Path) -> None:
    """From the catalog alone, in each format, with what its engine kept of the comparison."""
    with Registry(home, url=postgres_url) as registry:
        for number in (1, 2):
            bundle = make_bundle(tmp_path / str(number), version=number, content=b"%d" % number)
            registry.push(bundle.folder, "ann")
        book = RolloutBook(registry)
        step = Step(share=500, hold_s=60)
        plan = Plan(strategy=Strategy.CANARY, steps=(step,))
        rollout = book.begin(VersionKey("m", 2), 1, plan, Author(who="ann", reason="May"))
        for state in (RolloutState.CANARY, RolloutState.ROLLING_BACK, RolloutState.ROLLED_BACK):
            change = Change(state=state, reason="4 of 50 calls failed", evidence=KEPT.encoded())
            rollout = book.record(rollout, change, ENGINE) or rollout
        page = written(registry, rollout.id, PageForm.HTML)
        text = written(registry, rollout.id, PageForm.MARKDOWN)

    assert "It was taken back: version 1 then answered as before." in page
    assert "<svg" in page
    assert "4 of 50 calls failed" in text


def test_events_are_handed_out_claimed_and_delivered(home: Path, postgres_url: str) -> None:
    """One at a time of a subject, as on SQLite; what two couriers want only one gets."""
    ops = Receiver(name="ops", url="http://ops", secret_file=None, secret_env="S")  # noqa: S106  a name
    with Registry(home, url=postgres_url) as registry:
        book = OutboxBook(registry)
        assert book.claim([ops], {}) == ()
        told = Announcement(kind="drift.alarm", subject="m/1", data={"psi": 0.3})
        uids = [book.tell(told), book.tell(told)]
        first = book.claim([ops], {"ops": 4})
        assert book.claim([ops], {"ops": 4}) == ()
        book.delivered(first[0], "yes", hastens=True)
        second = book.claim([ops], {"ops": 4})
        book.given_up(second[0], "no")

        assert [one.event.uid for one in (*first, *second)] == uids
        assert book.tallies() == {"ops": Tally(delivered=1, dead=1)}
        assert book.redeliver_dead("ops", Author(who="ann")) == 1
        book.resume(["ops"])
        assert [one.event.uid for one in book.dead()] == []
        assert book.forget_old() == 0
