"""`bascule events`, as people and programs see it: a real catalog, a real receiver."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.cli.events import MOST_LISTED
from serving.cli.main import main
from serving.events.outbox_book import OutboxBook
from serving.events.receivers import Tally
from serving.events.receivers_file import read_receivers
from serving.registry.announcing.outbox import Announcement
from serving.registry.store import Registry
from tests.fakes.waiting import until
from tests.fakes.webhook_receiver import SECRET, Receiver, receiving, verified

TAIL = """
import signal
from serving.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main(["events", "tail", "--json", "--model", "tiny"])
"""
FILE = """
source: /bascule/test
receivers:
  - {{name: ops, url: '{url}?token=1', secret_file: ops.secret, types: ['dev.bascule.drift.*']}}
"""


def run(*arguments: str, code: int = 0) -> None:
    """Run a command that ends with a code."""
    with pytest.raises(SystemExit) as ended:
        main(("events", *arguments))
    assert ended.value.code == code


@pytest.fixture(name="home")
def home_of_an_instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An instance without an events.yaml."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(name="book")
def outbox(home: Path) -> Iterator[OutboxBook]:
    """The instance's outbox."""
    with Registry(home) as registry:
        yield OutboxBook(registry)


@pytest.fixture(name="server")
def receiver_of_the_file(home: Path) -> Iterator[Receiver]:
    """A server that events.yaml calls `ops`."""
    with receiving() as server:
        (home / "ops.secret").write_text(SECRET)
        (home / "events.yaml").write_text(FILE.format(url=server.url))
        yield server


def announced(book: OutboxBook, subject: str) -> str:
    """Record an event."""
    data = {"who": "ann", "reason": "release of May"}
    return book.tell(Announcement(kind="drift.alarm", subject=subject, data=data))


def given_up(book: OutboxBook, home: Path, subject: str) -> str:
    """Record an event that its receiver does not take for good."""
    receivers = read_receivers(home / "events.yaml").receivers
    book.claim(receivers, {})
    uid = announced(book, subject)
    for claimed in book.claim(receivers, {"ops": 9}):
        book.given_up(claimed, "HTTP 410")
    return uid


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:  # noqa: ANN401  JSON
    """Run a command and return what it says to programs."""
    capsys.readouterr()
    run(*arguments, "--json")
    return json.loads(capsys.readouterr().out)


@pytest.mark.usefixtures("server")
def test_events_are_listed_with_what_became_of_them(
    book: OutboxBook, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Oldest first, the latest so many, of one model, or only those that were given up."""
    dead = given_up(book, home, "tiny/1")
    other = announced(book, "big/1")
    run("list")
    firsts = [line.split()[0] for line in capsys.readouterr().out.splitlines()]

    assert [one for one in firsts if one in {dead[:8], other[:8]}] == [dead[:8], other[:8]]
    assert [one["event"]["id"] for one in printed(capsys, "list", "--limit", "1")] == [other]
    assert [one["event"]["id"] for one in printed(capsys, "list", "--model", "tiny")] == [dead]
    found = printed(capsys, "list", "--dead")
    assert [one["event"]["source"] for one in found] == ["/bascule/test"]
    assert [(one["receiver"], one["state"]) for one in found[0]["deliveries"]] == [("ops", "DEAD")]


@pytest.mark.usefixtures("home")
@pytest.mark.usefixtures("server")
def test_what_an_alarm_says_is_listed(book: OutboxBook, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody has given a reason for it: it has a text, and the list would show nothing."""
    data = {"text": "availability: 12 calls failed", "severity": "critical"}
    book.tell(Announcement(kind="slo.burn", subject="tiny/1", data=data))
    run("list")

    assert "availability: 12 calls failed" in capsys.readouterr().out


def test_where_nothing_happened_the_list_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Without an event there is no empty table."""
    run("list")
    run("list", "--dead")

    assert capsys.readouterr().out == "there is no event\nno event was given up\n"


def test_a_limit_is_one_that_every_database_can_answer(
    book: OutboxBook, capsys: pytest.CaptureFixture[str]
) -> None:
    """More at once is refused as a wrong option, before anything is asked."""
    uid = announced(book, "tiny/1")

    run("list", "--limit", str(MOST_LISTED + 1), code=2)
    assert "10000" in capsys.readouterr().err
    found = printed(capsys, "list", "--limit", str(MOST_LISTED))
    assert [one["event"]["id"] for one in found] == [uid]


@pytest.mark.usefixtures("server")
def test_receivers_are_shown_with_how_they_stand(
    book: OutboxBook, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What follows a URL's path may be a secret: it is not shown."""
    given_up(book, home, "tiny/1")
    found = printed(capsys, "receivers")
    ops = found["receivers"][0]

    assert (found["file"], found["source"]) == (str(home / "events.yaml"), "/bascule/test")
    assert ops["events"] == {"pending": 0, "delivered": 0, "dead": 1}
    assert ops["url"].endswith("/hook?…")
    run("receivers")
    assert "token" not in capsys.readouterr().out


def test_without_a_file_nobody_is_told(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says which file would name receivers."""
    run("receivers")

    assert f"nobody is told: {home / 'events.yaml'}" in capsys.readouterr().out


def test_a_test_event_comes_signed(server: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    """It comes though the receiver wants no such type; exit status 1 where it is not taken."""
    run("test", "ops")
    taken = capsys.readouterr().out
    server.statuses = [500]
    run("test", "--json", code=1)
    refused = json.loads(capsys.readouterr().out)

    assert taken.startswith("ops: taken: HTTP 204 from 127.0.0.1")
    assert (server.types[0], verified(server.came[0])) == ("events.test", True)
    assert [(one["receiver"], one["taken"], one["status"]) for one in refused] == [
        ("ops", False, 500)
    ]


@pytest.mark.usefixtures("server")
def test_a_receiver_that_is_not_named_is_not_tested(capsys: pytest.CaptureFixture[str]) -> None:
    """The message says which there are."""
    run("test", "dev", code=1)

    assert "no receiver called 'dev': events.yaml names ops" in capsys.readouterr().err


@pytest.mark.usefixtures("server")
def test_what_was_given_up_is_due_again(
    book: OutboxBook, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One event by the beginning of its id, or all that are dead; the audit log says who asked."""
    uid = given_up(book, home, "tiny/1")
    run("redeliver", uid[:8], "--reason", "they were away")

    assert capsys.readouterr().out == "1 delivery is due again\n"
    assert book.tallies()["ops"] == Tally(pending=1)
    given_up(book, home, "tiny/2")
    assert printed(capsys, "redeliver", "--dead") == {"deliveries": 2}
    assert printed(capsys, "redeliver", "--dead", "--receiver", "ops") == {"deliveries": 0}
    run("redeliver", "ffffffff", code=1)
    run("redeliver", code=2)
    run("redeliver", uid, "--dead", code=2)


def test_a_home_of_nobody_is_one_sentence(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path in events.yaml that leads nowhere is named, as every other mistake in it."""
    text = FILE.format(url="http://127.0.0.1").replace("ops.secret", "~nosuchuser/x")
    (home / "events.yaml").write_text(text)
    run("receivers", code=1)

    error = capsys.readouterr().err
    assert error.startswith("bascule: ")
    assert "'~nosuchuser/x': no such user here" in error


def test_events_are_followed_until_somebody_has_enough(book: OutboxBook, home: Path) -> None:
    """Each line is a CloudEvent of the model that was asked for; Ctrl-C is no failure."""
    out = home / "tail.txt"
    with out.open("wb") as stream:
        follower = subprocess.Popen([sys.executable, "-c", TAIL], stdout=stream)
    try:
        until(lambda: announced_and_seen(book, out), "an event is followed")
        follower.send_signal(signal.SIGINT)
        assert follower.wait(30) == 0
    finally:
        follower.kill()
        follower.wait()

    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {one["subject"] for one in lines} == {"tiny/1"}


def announced_and_seen(book: OutboxBook, out: Path) -> bool:
    """Record events until the first of them is followed: what came before is not."""
    announced(book, "big/1")
    announced(book, "tiny/1")
    return out.stat().st_size > 0
