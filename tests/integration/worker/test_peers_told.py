"""What a real worker tells the others of the sequences that it has."""

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from serving.registry.model_config.parsing import parse_config
from serving.registry.version import VersionSpec
from serving.wire.peer_table import PeerTable, SequencePeer
from tests.fakes.sequence_models import ACCUMULATOR_CONFIG, accumulator
from tests.fakes.worker_process import PATIENCE_S, WorkerProcess, request, running_worker, version

ROUTED = "/v2/models/sums/infer"
NAMED = "/v2/models/sums/versions/1/infer"
DONE = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


def sums(folder: Path) -> VersionSpec:
    """A model that is served in sequences."""
    policy = parse_config(ACCUMULATOR_CONFIG, model="sums").policy
    return replace(version(folder, "sums", accumulator()), policy=policy)


def begin(worker: WorkerProcess, target: str, sequence: int) -> None:
    """Begin a sequence."""
    parameters = {"sequence_id": sequence, "sequence_start": True}
    x = {"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}
    body = json.dumps({"inputs": [x], "parameters": parameters}).encode()
    with worker.local() as client:
        reply = client.ask(request(target, body))
    assert reply.status == 200, reply


@pytest.fixture(name="peer")
def peer_that_listens(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of another version's worker."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.settimeout(PATIENCE_S)
        listening.bind(str(tmp_path / "peer.sock"))
        listening.listen()
        yield listening


def tell(worker: WorkerProcess, peer: socket.socket) -> None:
    """Say who else may have sequences of the model."""
    other = SequencePeer(model="sums", version=2, worker="w2", socket=peer.getsockname())
    with worker.local() as client:
        table = msgspec.json.encode(PeerTable(peers=(other,)))
        assert client.ask(request("/worker/peers", table)).status == 200


def heard(peer: socket.socket) -> list[int]:
    """Take one message; return the ids that it says have begun."""
    connection, _ = peer.accept()
    with connection, connection.makefile("rb") as stream:
        assert stream.readline() == b"POST /worker/begun HTTP/1.1\r\n"
        lines = iter(stream.readline, b"\r\n")
        headers = dict(line.strip().split(b": ") for line in lines)
        ids: list[int] = json.loads(stream.read(int(headers[b"content-length"])))["ids"]
        connection.sendall(DONE)
    return ids


def test_peers_hear_of_what_began_before_they_were_known(
    tmp_path: Path, peer: socket.socket
) -> None:
    """As at a worker that takes the place of one that ended: else they would go on from before."""
    with running_worker(tmp_path) as worker:
        worker.apply(sums(tmp_path))
        begin(worker, ROUTED, 7)
        begin(worker, NAMED, 8)
        tell(worker, peer)
        assert heard(peer) == [7]
        tell(worker, peer)
        begin(worker, ROUTED, 9)
        assert heard(peer) == [9]
