"""What commands say to an instance of another version, and to who is no inference server."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from serving.cli.main import main
from tests.fakes.admin_server import FakeInstance, empty_status, running


class Stranger(FakeInstance):
    """An instance whose answers have none of the fields that we know."""

    def answer(self, method: str, path: str, body: bytes) -> object:
        """Tell something else."""
        del method, path, body
        return {"novelty": 1}


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that fails; return its one sentence."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    return sentence


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("promote", "m", "--to", "1"),
        ("rollout", "status", "m"),
        ("rollback", "m"),
        ("quality", "m"),
        ("drift", "m"),
        ("monitor", "alarms"),
    ],
    ids=" ".join,
)
def test_an_instance_of_another_version_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
) -> None:
    """With what to do, and without a traceback: it may have been started before an upgrade."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path))
    with running(Stranger(status=empty_status(tmp_path)), tmp_path / "run" / "admin.sock"):
        sentence = said(capsys, *arguments)

    assert "answers as another version of Bascule does" in sentence
    assert "start it again with this one" in sentence


@pytest.fixture
def web_page() -> Iterator[str]:
    """A program that answers every call with a page."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"hi")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_who_is_no_inference_server_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    web_page: str,
) -> None:
    """Another program may listen at the port that was named."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path))

    sentence = said(capsys, "predict", "m", "--generate", "--url", web_page)

    assert f"what answers at {web_page} does not speak the Open Inference Protocol" in sentence


@pytest.mark.parametrize(
    ("index_status", "told"), [(200, "'iri' is unknown; did you mean iris?"), (404, "unknown")]
)
def test_the_model_that_was_meant_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    index_status: int,
    told: str,
) -> None:
    """By the server's index; one that has none has its own words."""

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(404, b'{"error": "\'iri\' is unknown"}')

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._reply(index_status, b'[{"name": "iris", "version": "1"}]')

        def _reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name
            """Say nothing."""

    monkeypatch.setenv("BASCULE_HOME", str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"127.0.0.1:{server.server_port}"
        sentence = said(capsys, "predict", "iri", "--generate", "--url", url)
        server.shutdown()
        thread.join()

    assert sentence.endswith(told)
