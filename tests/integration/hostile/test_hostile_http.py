"""HTTP that means two things, comes piece by piece, or stops in the middle."""

import json

import psutil
import pytest

from tests.fakes.hostile import RawHttp, ask, connections, post
from tests.fakes.standalone_server import Server
from tests.integration.hostile.conftest import X, Y

INFER = "/v2/models/a/infer"
BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 16], "datatype": "FP32", "data": X.ravel().tolist()}]}
).encode()
LIVE = b"GET /v2/health/live HTTP/1.1\r\nHost: h\r\n\r\n"


def head(*lines: str, path: str = INFER) -> bytes:
    """A request's head with these header lines."""
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: h", *lines, "", ""]).encode()


def floats(body: bytes) -> list[float]:
    """The numbers of a reply."""
    data: list[float] = json.loads(body)["outputs"][0]["data"]
    return data


@pytest.mark.parametrize(
    "request_bytes",
    [
        head("Content-Length: 5", "Content-Length: 6") + b"abcdef",
        head("Content-Length: 5, 6") + b"abcdef",
        head("Content-Length: -5") + b"abcdef",
        head("Content-Length: +5") + b"abcde",
        head("Content-Length: 0x5") + b"abcde",
        head("Content-Length: 99999999999999999999"),
        head("Transfer-Encoding: xchunked") + b"0\r\n\r\n",
        head("Transfer-Encoding: chunked, identity") + b"0\r\n\r\n",
        head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
        head("Transfer-Encoding : chunked") + b"0\r\n\r\n",
        head("Transfer-Encoding: chunked") + b"zz\r\n\r\n",
        head("Transfer-Encoding: chunked") + b"ffffffffffffffff1\r\n\r\n",
        head("Transfer-Encoding: chunked") + b"-1\r\n\r\n",
        head("Content-Length: 0", "X: a\0b"),
        head("Content-Length: 0", "X-Big: " + "a" * 40_000),
        head("Content-Length: 0", *(f"X-{k}: a" for k in range(200))),
        head("Content-Length: 0", path="/v2/\xff"),
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /v2\r\n\r\n",
        b"\0\1\2\3\r\n\r\n",
    ],
    ids=lambda raw: ascii(raw[-40:].decode("latin-1")),
)
def test_what_is_no_clear_http_is_refused(server: Server, request_bytes: bytes) -> None:
    """Two lengths, unknown codings, broken chunks and endless heads: 4xx, and nothing is run."""
    with RawHttp(server.http) as client:
        client.send(request_bytes + LIVE)
        assert 400 <= client.read().status < 500
        assert client.is_closed()


def test_chunks_win_over_a_length(server: Server) -> None:
    """With both, the body is its chunks, and what follows them is the next request."""
    size = f"{len(BODY):x}".encode()
    both = head("Content-Length: 4", "Transfer-Encoding: chunked")
    with RawHttp(server.http) as client:
        client.send(both + size + b"\r\n" + BODY + b"\r\n0\r\n\r\n")
        assert floats(client.read().body) == Y


def test_pipelined_calls_are_answered_in_order(server: Server) -> None:
    """A hundred requests in one piece get a hundred replies, each its own."""
    names = ["/v2/health/live", "/v2/models/a", INFER]
    requests = b"".join(
        post(names[2], BODY)
        if k % 3 == 2
        else b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % names[k % 3].encode()
        for k in range(99)
    )
    with RawHttp(server.http) as client:
        client.send(requests)
        replies = [client.read() for _ in range(99)]
    assert {reply.status for reply in replies} == {200}
    assert all(floats(reply.body) == Y for reply in replies[2::3])
    assert all(json.loads(reply.body) == {"live": True} for reply in replies[0::3])
    assert all(json.loads(reply.body)["name"] == "a" for reply in replies[1::3])


def test_a_body_over_the_limit_is_refused_unread(server: Server) -> None:
    """The announcement is enough, and the text names both numbers."""
    reply = ask(server.http, head("Content-Length: 3000000000"))
    assert reply.status == 413
    assert "3000000000 vs. 1073741824" in reply.error


@pytest.mark.parametrize("sent", [b"", b"POST /v2", head("Content-Length: 900") + b"{"])
def test_half_of_a_request_ends_with_its_connection(server: Server, sent: bytes) -> None:
    """A client that stops in the middle is let go; nothing is run for it."""
    with RawHttp(server.http) as client:
        assert b"200 OK" not in client.send(sent).finish_sending().rest()


def test_a_client_that_closes_its_side_too_early_is_told(server: Server) -> None:
    """It counts as gone, as nobody can tell it from one that is; what it may still read says so."""
    with RawHttp(server.http) as client:
        reply = client.send(post(INFER, BODY)).finish_sending().read()
    assert reply.status == 200 or "stays open" in reply.error


def test_idle_and_slow_connections_cost_little(server: Server) -> None:
    """Hundreds of connections that send half a request leave others alone, in bounded memory."""
    everybody = [psutil.Process(server.process.pid)]
    everybody += everybody[0].children(recursive=True)
    before = sum(process.memory_info().rss for process in everybody)
    with connections(server.http, 500) as opened:
        for client in opened:
            client.send(head("Content-Length: 1000000") + b"x" * 20_000)
        assert floats(ask(server.http, post(INFER, BODY)).body) == Y
        grown = sum(process.memory_info().rss for process in everybody) - before
    assert grown < 500 * 256_000


def test_a_client_that_reads_nothing_keeps_nobody_waiting(server: Server) -> None:
    """Replies that nobody takes wait in bounded buffers, and others are answered meanwhile."""
    with RawHttp(server.http) as deaf:
        deaf.send(post(INFER, BODY) * 20)
        assert floats(ask(server.http, post(INFER, BODY)).body) == Y
        assert floats(deaf.read().body) == Y
