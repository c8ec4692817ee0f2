"""`bascule up --address` where no Ray cluster is: refused in a sentence, before Ray is asked."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from serving.cluster import gcs_check
from serving.cluster.gcs_check import is_cluster
from serving.settings import inherited_environment
from tests.fakes.standalone_server import LIMIT_S, free_ports


class Gcs(grpc.GenericRpcHandler):
    """Answers the question that a GCS is asked, as one does that lets in nobody without a token."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """Know this one method."""
        if details.method != gcs_check.METHOD:
            return None
        return grpc.unary_unary_rpc_method_handler(self._refuse)

    def _refuse(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
        return b""


@contextmanager
def grpc_server(*handlers: grpc.GenericRpcHandler) -> Iterator[str]:
    """Run a server; give its address."""
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads, handlers=handlers)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait(LIMIT_S)


@contextmanager
def listening(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """Take connections and treat each in some way; give the address."""
    kept = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            kept.append(connection)
            answer(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(LIMIT_S)
            for connection in kept:
                connection.close()


def test_a_cluster_is_one_whomever_it_lets_in() -> None:
    """Ray itself has the token, if it needs one."""
    with grpc_server(Gcs()) as address:
        assert is_cluster(address)


def test_a_host_that_takes_connections_and_says_nothing_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor is one that answers in another protocol."""
    monkeypatch.setattr(gcs_check, "ANSWER_LIMIT_S", 0.5)
    with listening(lambda _: None) as address:
        assert not is_cluster(address)
    with listening(lambda client: client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as address:
        assert not is_cluster(address)


def test_up_refuses_a_server_of_another_kind(tmp_path: Path) -> None:
    """As Ray's port for clients, 10001, is: Ray tried for three minutes, and a minute more to end.

    Nothing was started, and nothing is left.
    """
    ports = free_ports(3)
    flags = zip(("--http", "--grpc", "--metrics"), ports, strict=True)
    addresses = [part for flag, port in flags for part in (flag, f"127.0.0.1:{port}")]
    with grpc_server() as address:
        told = subprocess.run(
            [Path(sys.executable).with_name("bascule"), "up", "--address", address, *addresses],
            env=inherited_environment() | {"BASCULE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    assert told.returncode == 1
    assert told.stdout == ""
    assert told.stderr.startswith(f"bascule: no Ray cluster answers at {address}: give the HOST:")
    assert len(told.stderr.splitlines()) == 1
    assert not (tmp_path / "run" / "ray.json").exists()
