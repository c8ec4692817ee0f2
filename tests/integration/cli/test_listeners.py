"""Whom a command calls when nobody named a server, and when somebody did."""

from dataclasses import replace
from pathlib import Path

import pytest

from runtimes.errors import InvalidArgumentError
from serving.cli.listeners import listeners
from serving.host_port import HostPort, of_url
from tests.fakes.admin_server import FakeInstance, empty_status, running

DEFAULT_HTTP, DEFAULT_GRPC = HostPort("127.0.0.1", 8000), HostPort("127.0.0.1", 8001)
MOVED_HTTP, MOVED_GRPC = HostPort("127.0.0.1", 9000), HostPort("127.0.0.1", 9001)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and nothing that says where its instance listens."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path))
    monkeypatch.delenv("BASCULE_HTTP", raising=False)
    monkeypatch.delenv("BASCULE_GRPC", raising=False)
    return tmp_path


@pytest.fixture
def moved(home: Path) -> FakeInstance:
    """An instance that was started with `--http` and `--grpc`."""
    return FakeInstance(
        status=replace(empty_status(home), http=str(MOVED_HTTP), grpc=str(MOVED_GRPC))
    )


def test_the_running_instance_says_where_it_listens(home: Path, moved: FakeInstance) -> None:
    """Not the default ports, where nobody may be, or another home's instance."""
    with running(moved, home / "run" / "admin.sock"):
        at = listeners()

    assert (at.http, at.grpc) == (MOVED_HTTP, MOVED_GRPC)


def test_a_variable_goes_before_the_instance(
    home: Path, moved: FakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a flag before both; the other listener is still the instance's."""
    monkeypatch.setenv("BASCULE_HTTP", "127.0.0.1:7000")
    with running(moved, home / "run" / "admin.sock"):
        by_variable, by_flag = listeners(), listeners("127.0.0.1:6000")

    assert (by_variable.http.port, by_variable.grpc) == (7000, MOVED_GRPC)
    assert by_flag.http.port == 6000


def test_without_an_instance_the_defaults_are_called(home: Path) -> None:
    """So that a server of another kind is found there."""
    at = listeners()

    assert not (home / "run").exists()
    assert (at.http, at.grpc) == (DEFAULT_HTTP, DEFAULT_GRPC)


@pytest.mark.usefixtures("home")
def test_two_servers_are_never_asked_as_one() -> None:
    """A server that was named by one listener is not asked on this home's other one."""
    with pytest.raises(InvalidArgumentError, match="say with --grpc-url"):
        listeners("h:1", is_grpc_asked=True)
    with pytest.raises(InvalidArgumentError, match="say with --url HOST:PORT where it takes HTTP"):
        listeners(None, "h:2", is_grpc_asked=True)
    at = listeners("h:1", "h:2", is_grpc_asked=True)

    assert (at.http.port, at.grpc.port) == (1, 2)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("text", ["http://[::1]:70", "http://[::1]:70/", "[::1]:70"])
def test_a_server_may_be_named_by_its_url(text: str) -> None:
    """As it is printed, and pasted: the scheme was taken for a part of the host's name."""
    assert listeners(text).http == HostPort("::1", 70)


@pytest.mark.parametrize(
    "text", ["https://h:1", "h:1/v2", "http://h", "a b:1", "h:\u00b2", "h:65536", ":1", ""]
)
def test_what_is_no_address_is_told(text: str) -> None:
    """With the form that is expected."""
    with pytest.raises(InvalidArgumentError, match=r"is no address: write HOST:PORT"):
        of_url(text)


def test_an_instance_of_another_version_is_called_all_the_same(
    home: Path, moved: FakeInstance
) -> None:
    """Of its status only the addresses are read."""

    class Newer(FakeInstance):
        def answer(self, method: str, path: str, body: bytes) -> object:
            """Tell what every version tells, and what ours does not know."""
            del method, path, body
            return {"http": self.status.http, "grpc": self.status.grpc, "novelty": [1]}

    with running(Newer(status=moved.status), home / "run" / "admin.sock"):
        at = listeners()

    assert (at.http, at.grpc) == (MOVED_HTTP, MOVED_GRPC)
