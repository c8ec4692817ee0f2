"""What a person is told by `bascule predict` of a call that the server does not read to its end."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np
import pytest

from runtimes.datatypes import Datatype
from serving.cli.predict_http import HttpClient, RefusedPredictionError
from serving.cli.predict_tensors import NamedTensor
from serving.errors import NotReadyError
from serving.host_port import HostPort

LARGE = NamedTensor(name="x", datatype=Datatype.FP32, array=np.zeros((1, 1 << 24), np.float32))
BODY = b'{"error":"too large"}'
REFUSAL = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)


@contextmanager
def hasty_server(reply: bytes) -> Iterator[HostPort]:
    """Answer the head of one request, and close while its body comes."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1 << 10)
            connection.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield HostPort("127.0.0.1", listener.getsockname()[1])
        thread.join()


def test_a_refusal_that_comes_before_all_is_sent_is_told() -> None:
    """A body over the limit is refused by its head, and the rest of it is not read."""
    with (
        hasty_server(REFUSAL) as address,
        closing(HttpClient(address, 10.0)) as client,
        pytest.raises(RefusedPredictionError, match="too large"),
    ):
        client.infer("m", None, [LARGE])


def test_a_server_that_closes_without_a_word_is_told() -> None:
    """Perhaps it is no server of this protocol at all."""
    with (
        hasty_server(b"") as address,
        closing(HttpClient(address, 10.0)) as client,
        pytest.raises(NotReadyError, match="is an instance running there"),
    ):
        client.infer("m", None, [LARGE])
