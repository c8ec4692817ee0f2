"""A request whose head came before is understood as the parser understood it, or by the parser."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from benchmarks.instructions.in_process import InProcessWorker
from benchmarks.loads import Request
from benchmarks.models.layout import write_model
from benchmarks.models.small import tiny_graph
from serving.worker.known_heads import LAST_CHUNK, MAX_HEADS, SELDOM, KnownHeads
from tests.fakes.keeping_transport import KeepingTransport

LIMIT_BYTES = 4096
PATH = b"/v2/models/tiny/infer"
HEADERS = {b"content-length": b"3"}


def head(*lines: bytes, path: bytes = PATH) -> bytes:
    """Write a request's head."""
    return b"".join((b"POST %b HTTP/1.1\r\n" % path, *(b"%b\r\n" % one for one in lines), b"\r\n"))


def test_a_head_is_known_when_its_request_came_in_one_piece() -> None:
    """And only with a body of its length."""
    heads = KnownHeads(LIMIT_BYTES)
    begun = head(b"content-length: 3")
    for data in (begun, begun + b"ab", begun + b"abcd"):
        heads.remember(data, PATH, HEADERS)
        assert heads.split(begun + b"abc") is None
    heads.remember(begun + b"abc", PATH, HEADERS)
    known = heads.split(begun + b"xyz")
    assert known is not None
    assert (known[0].target, known[0].headers, known[1]) == (PATH, HEADERS, b"xyz")
    for data in (b"", begun, begun + b"xy", begun + b"xyz!", begun[1:] + b"xyz", begun[:-2]):
        assert heads.split(data) is None


def test_a_chunked_body_is_read_if_it_is_one_chunk_and_the_rest() -> None:
    """Trailers, extensions, more chunks, other spellings of the size: the parser's."""
    heads = KnownHeads(LIMIT_BYTES)
    begun = head(b"transfer-encoding: chunked")
    headers = {b"transfer-encoding": b"chunked"}
    heads.remember(begun + b"3\r\nabc" + LAST_CHUNK, PATH, headers)
    known = heads.split(begun + b"A\r\n0123456789" + LAST_CHUNK)
    assert known is not None
    assert known[1] == b"0123456789"
    for rest in (
        b"0\r\n\r\n",
        b"3\r\nab" + LAST_CHUNK,
        b"3;a=b\r\nabc" + LAST_CHUNK,
        b"03\r\nabc" + LAST_CHUNK,
        b"0x3\r\nabc" + LAST_CHUNK,
        b"+3\r\nabc" + LAST_CHUNK,
        b"3\r\nabc\r\n3\r\nabc" + LAST_CHUNK,
        b"3\r\nabc\r\n0\r\nx: y\r\n\r\n",
        b"%x\r\n%b" % (LIMIT_BYTES + 1, bytes(LIMIT_BYTES + 1)) + LAST_CHUNK,
    ):
        assert heads.split(begun + rest) is None


@pytest.mark.parametrize(
    "more", [{b"expect": b"100-continue"}, {b"upgrade": b"h2c"}, {b"transfer-encoding": b"chunked"}]
)
def test_what_asks_for_more_than_an_answer_is_the_parsers(more: dict[bytes, bytes]) -> None:
    """Such a head is never known."""
    heads = KnownHeads(LIMIT_BYTES)
    data = head(b"content-length: 3", *(b"%b: %b" % one for one in more.items())) + b"abc"
    heads.remember(data, PATH, HEADERS | more)
    assert heads.split(data) is None


def test_heads_that_never_come_again_are_kept_seldom() -> None:
    """As with a trace in each: then a head that does come again is known after some tries."""
    heads = KnownHeads(LIMIT_BYTES)

    def ask(name: int) -> bool:
        data = head(b"traceparent: %d" % name, b"content-length: 3") + b"abc"
        if heads.split(data) is not None:
            return True
        heads.remember(data, PATH, HEADERS)
        return False

    assert not any(ask(number) for number in range(MAX_HEADS))
    assert ask(0)
    assert not any(ask(number) for number in range(MAX_HEADS, 3 * MAX_HEADS))
    known_count = sum(ask(number) for number in range(2 * MAX_HEADS, 3 * MAX_HEADS))
    assert 0 < known_count <= MAX_HEADS // SELDOM + 1
    assert any(ask(-1) for _ in range(SELDOM + 1))


def posted(path: str, body: bytes, *lines: str, length: int | None = None) -> bytes:
    """Write a request; `length` None: the body's, -1: chunked."""
    size = len(body) if length is None else length
    framing = f"content-length: {size}" if size >= 0 else "transfer-encoding: chunked"
    text = "".join(f"{line}\r\n" for line in (f"POST {path} HTTP/1.1", framing, *lines, ""))
    if size < 0:
        body = b"%x\r\n%b" % (len(body), body) + LAST_CHUNK
    return text.encode() + body


def requests() -> dict[str, bytes]:
    """Return requests of every kind, with what is wrong with some."""
    request = Request(model="tiny", inputs={"x": np.ones((1, 16), np.float32)})
    body, header_bytes = request.http_body()
    own = f"Inference-Header-Content-Length: {header_bytes}"
    frame = request.grpc_frame()
    grpc = "/inference.GRPCInferenceService/ModelInfer"
    kind = "content-type: application/grpc"
    return {
        "http": posted(request.path, body, own),
        "other values": posted(request.path, body[:-4] + bytes(4), own),
        "too short": posted(request.path, body[:-4], own),
        "a version": posted(request.path, body, own, "bascule-version: 1"),
        "no such version": posted(request.path, body, own, "bascule-version: 7"),
        "no such model": posted("/v2/models/none/infer", body, own),
        "a bad header": posted(request.path, body, "inference-header-content-length: x"),
        "chunked": posted(request.path, body, own, length=-1),
        "closes": posted(request.path, body, own, "connection: close"),
        "grpc": posted(grpc, frame, kind),
        "grpc chunked": posted(grpc, frame, kind, length=-1),
        "grpc late": posted(grpc, frame, kind, "grpc-timeout: 0n"),
        "grpc broken": posted(grpc, frame[:-3], kind),
        "no http": b"no http at all\r\n\r\n",
    }


REQUESTS = requests()


class Bench:
    """A worker, and what a connection to it is answered."""

    def __init__(self, folder: Path) -> None:
        self.runner = asyncio.Runner()
        loop = self.runner.get_loop()
        write_model(folder, tiny_graph().folder("tiny", 64))
        self._worker = InProcessWorker(loop)
        (self._loaded,) = self._worker.host(folder)

    def answers(self, pieces: list[bytes], heads: KnownHeads) -> tuple[bytes, bool]:
        """Send pieces one after the other, each when all before is answered; what came back."""

        async def run() -> tuple[bytes, bool]:
            (connection,) = self._worker.connect(1)
            protocol, sink = connection.protocol, KeepingTransport()
            protocol.connection_made(sink)
            self._worker.desk.heads = heads
            for piece in pieces:
                if not sink.is_closing():
                    protocol.data_received(piece)
                await self._loaded.batcher.idle()
            is_closing = sink.is_closing()
            protocol.connection_lost(None)
            return sink.written, is_closing

        return self.runner.run(run())

    def close(self) -> None:
        """End its threads."""
        self._worker.close()
        self.runner.close()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One for all tests: loading takes its time."""
    made = Bench(tmp_path_factory.mktemp("models"))
    yield made
    made.close()


def cut(names: list[str], cuts: list[int]) -> list[bytes]:
    """Return requests as pieces: whole ones, but for those that are cut or come with the next."""
    pieces: list[bytes] = []
    for name, at in itertools.zip_longest(names, cuts[: len(names)], fillvalue=0):
        data = REQUESTS[str(name)]
        if at < 0 and pieces:
            pieces[-1] += data
        elif 0 < at < len(data):
            pieces += [data[:at], data[at:]]
        else:
            pieces.append(data)
    return pieces


def test_of_requests_in_one_piece_no_head_is_remembered(bench: Bench) -> None:
    """A head that would be taken for another's: its body looks like the next one's chunk."""
    last = REQUESTS["grpc chunked"]
    size = b"%x" % (len(last) - len(LAST_CHUNK) + 3)
    body = size + b"\r\nabc"
    first = posted("/v2/models/tiny/infer", body)
    alone = posted("/v2/models/tiny/infer", b"", length=len(body)) + body
    heads = KnownHeads(1 << 16)
    bench.answers([first + last], heads)
    assert heads.split(first + last) is None
    assert bench.answers([alone], heads) == bench.answers([alone], KnownHeads(0))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.sampled_from(sorted(REQUESTS)), min_size=1, max_size=8),
    cuts=st.lists(st.one_of(st.just(0), st.integers(-1, 400)), max_size=8),
)
@example(names=["http", "http", "other values", "grpc", "grpc", "closes", "http"], cuts=[])
def test_the_same_bytes_get_the_same_answers(
    bench: Bench, names: list[str], cuts: list[int]
) -> None:
    """Byte by byte, and the connection ends at the same moment, whether heads are known or not."""
    pieces = cut(names, cuts)
    heads = KnownHeads(LIMIT_BYTES)
    read = bench.answers(pieces, KnownHeads(0))
    assert bench.answers(pieces, heads) == read
    assert bench.answers(pieces, heads) == read
