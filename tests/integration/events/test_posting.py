"""One event sent to a real receiver: what it gets, and what it cannot make us do."""

import asyncio
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from serving.clock import SystemClock
from serving.events.posting import MAX_TOLD_CHARACTERS, HttpPoster, Parcel
from serving.events.receivers import Receiver
from serving.events.retrying import NO_ANSWER, Answer
from tests.fakes.standalone_server import free_ports
from tests.fakes.webhook_receiver import SECRET, own_certificate, receiving, verified

PARCEL = Parcel(uid="4f1c", body=b'{"id":"4f1c"}')
GetAddressInfo = list[tuple[int, int, int, str, tuple[str, int]]]


@pytest.fixture(name="receiver")
def receiver_without_an_address(tmp_path: Path) -> Receiver:
    """A receiver whose secret is in a file."""
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    return Receiver(name="ops", url="", secret_file=secret, secret_env="")


def posted(receiver: Receiver, url: str, limit_s: float = 90.0) -> Answer:
    """Send the parcel to an address."""
    poster = HttpPoster(SystemClock(), limit_s=limit_s)
    return asyncio.run(poster.post(replace(receiver, url=url), PARCEL))


def test_a_receiver_gets_the_body_signed(receiver: Receiver) -> None:
    """The bytes are those that were signed, and the headers say what they are."""
    with receiving() as server:
        answer = posted(receiver, server.url)
    came = server.came[0]

    assert answer.is_taken
    assert "HTTP 204 from 127.0.0.1" in answer.told
    assert came.body == PARCEL.body
    assert came.headers["content-type"].startswith("application/cloudevents+json")
    assert verified(came)


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    """Where it leads nobody has checked: nothing is sent there."""
    with receiving() as inner, receiving() as outer:
        outer.statuses, outer.headers = [307], {"location": inner.url}
        answer = posted(receiver, outer.url)

    assert (answer.status, answer.is_taken) == (307, False)
    assert inner.came == []
    assert "redirects are not followed" in answer.told


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[::ffff:169.254.169.254]", "[fe80::1]", "0.1.2.3"]
)
def test_addresses_that_give_credentials_are_not_asked(receiver: Receiver, host: str) -> None:
    """The answer says why, and which field would allow it."""
    answer = posted(receiver, f"http://{host}/latest/meta-data")

    assert not answer.is_taken
    assert "allow_networks" in answer.told


def test_no_name_leads_to_such_an_address(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is checked is the address that is connected to, after the name was looked up."""

    def resolve(*_: object) -> GetAddressInfo:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    answer = posted(receiver, "http://harmless.example.com/hook")

    assert "169.254.169.254 is link-local" in answer.told


def test_only_the_beginning_of_a_refusal_is_read(receiver: Receiver) -> None:
    """A receiver's text is kept in part, in one line, whatever it sends."""
    with receiving() as server:
        server.statuses, server.headers = [503], {"retry-after": "120"}
        server.text = b"no\x1b[31m\n" * 1_000_000
        answer = posted(receiver, server.url)

    assert (answer.status, answer.retry_after_s) == (503, 120.0)
    assert len(answer.told) <= MAX_TOLD_CHARACTERS
    assert answer.told.isprintable()


def test_an_answer_that_is_no_http_is_told_in_words(receiver: Receiver) -> None:
    """As of a service that speaks something else: nothing reads as if HTTP 400 had come."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            client, _ = server.accept()
            with client:
                came = b""
                while not came.endswith(PARCEL.body):
                    came += client.recv(65536)
                client.sendall(b"\x00\xff SSH-2.0-other\r\n" * 100)

        greeting = threading.Thread(target=greet)
        greeting.start()
        answer = posted(receiver, f"http://127.0.0.1:{server.getsockname()[1]}/")
        greeting.join()

    assert answer.status == NO_ANSWER
    assert answer.told.startswith("what 127.0.0.1 answered is no HTTP: Bad status line")
    assert "400" not in answer.told
    assert "\\x" not in answer.told


def test_a_receiver_that_says_nothing_is_left(receiver: Receiver) -> None:
    """It has its time, and no more."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        answer = posted(receiver, f"http://127.0.0.1:{mute.getsockname()[1]}/", limit_s=0.2)

    assert answer == Answer(told="no answer within 0.2 s")


def test_a_name_that_is_looked_up_for_ever_is_left(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread of the event loop's own waits for it."""
    released = threading.Event()

    def resolve(*_: object) -> GetAddressInfo:
        released.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    answer = posted(receiver, "http://slow.example.com/", limit_s=0.2)
    released.set()

    assert answer == Answer(told="no answer within 0.2 s")


def test_a_receiver_that_is_not_there_is_named(receiver: Receiver) -> None:
    """The answer says where nobody listens."""
    port = free_ports(1)[0]

    assert (
        f"cannot connect to 127.0.0.1:{port}" in posted(receiver, f"http://127.0.0.1:{port}").told
    )


def test_without_its_secret_nothing_is_sent(receiver: Receiver, tmp_path: Path) -> None:
    """An unsigned event would be one that anybody could have sent."""
    with receiving() as server:
        answer = posted(replace(receiver, secret_file=tmp_path / "gone"), server.url)

    assert "secret_file" in answer.told
    assert server.came == []


def test_certificates_are_checked(receiver: Receiver, tmp_path: Path) -> None:
    """Who vouches for itself is refused, unless the file of the receiver has its certificate."""
    context, certificate = own_certificate(tmp_path)
    with receiving(tls=context) as server:
        stranger = posted(receiver, server.url)
        friend = posted(replace(receiver, ca_file=certificate), server.url)

    assert not stranger.is_taken
    assert "certificate" in stranger.told.lower()
    assert friend.is_taken
