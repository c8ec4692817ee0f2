"""Large bodies that trickle in: others have their room when it is wanted."""

import asyncio
import json
from pathlib import Path

import pytest

from benchmarks.instructions.in_process import InProcessWorker
from benchmarks.models.layout import write_model
from benchmarks.models.small import tiny_graph
from serving.worker.body import NS_PER_S, SLOW_S, SMALL_BYTES, BodyRoom
from tests.fakes.keeping_transport import KeepingTransport

PATH = "/v2/models/tiny/infer"
GRPC_PATH = "/inference.GRPCInferenceService/ModelInfer"
SIZE_BYTES = 4 * SMALL_BYTES
PIECE = b" " * (3 * SMALL_BYTES)


def head(path: str, *lines: str) -> bytes:
    """Write a request's head."""
    return "".join(f"{line}\r\n" for line in (f"POST {path} HTTP/1.1", *lines, "")).encode()


WHOLE = json.dumps(
    {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 16], "data": [1.0] * 16}]}
).encode()
CALL = head(PATH, f"content-length: {SIZE_BYTES}") + WHOLE.rjust(SIZE_BYTES)
SLOW = {
    "http": head(PATH, f"content-length: {SIZE_BYTES}") + PIECE,
    "chunked": head(PATH, "transfer-encoding: chunked") + b"%x\r\n" % SIZE_BYTES + PIECE,
    "grpc": head(GRPC_PATH, "transfer-encoding: chunked") + b"%x\r\n" % SIZE_BYTES + PIECE,
}


@pytest.mark.parametrize("kind", SLOW)
def test_a_body_that_trickles_in_makes_room_for_a_call(tmp_path: Path, kind: str) -> None:
    """While it has time, others are refused; then it is, and what more comes is dropped."""
    write_model(tmp_path, tiny_graph().folder("tiny", 64))
    now_ns = 0

    async def run() -> tuple[bytes, bytes, bytes]:
        nonlocal now_ns
        worker = InProcessWorker(asyncio.get_running_loop())
        (loaded,) = worker.host(tmp_path)
        room = worker.desk.body_room = BodyRoom(SIZE_BYTES, lambda: now_ns)
        clients = KeepingTransport(), KeepingTransport(), KeepingTransport()
        slow, early, late = (connection.protocol for connection in worker.connect(3))
        for protocol, client in zip((slow, early, late), clients, strict=True):
            protocol.connection_made(client)
        slow.data_received(SLOW[kind])
        early.data_received(CALL)
        now_ns = SLOW_S * NS_PER_S
        late.data_received(CALL)
        slow.data_received(b"  ")
        await loaded.batcher.idle()
        assert (room.used_bytes, worker.desk.open_count) == (0, 0)
        worker.close()
        return clients[0].written, clients[1].written, clients[2].written

    slow, early, late = asyncio.run(run())
    assert early.startswith(b"HTTP/1.1 503 ")
    assert late.startswith(b"HTTP/1.1 200 ")
    said = f"not whole after {SLOW_S} s, {len(PIECE)} bytes of its body came"
    if kind == "grpc":
        assert b"grpc-status: 4" in slow
    else:
        assert slow.startswith(b"HTTP/1.1 408 ")
        assert said in json.loads(slow.partition(b"\r\n\r\n")[2])["error"]
