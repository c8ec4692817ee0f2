"""Texts that a person's script may compare, where a server is seldom in the state for them."""

from serving.wire import refusals
from serving.worker.admission import draining_error
from tests.unit.edge.test_haproxy_config import TEXT


def test_a_server_that_exits() -> None:
    """HTTP and gRPC have a text each, and the edge's configuration has both."""
    assert refusals.SERVER_EXITING == "Server exiting"
    assert refusals.GRPC_SERVER_EXITING == (
        "GRPC server is shutting down and has stopped accepting new requests."
    )
    assert '{\\"error\\":\\"Server exiting\\",' in TEXT
    assert f'hdr grpc-message "{refusals.GRPC_SERVER_EXITING}"' in TEXT


def test_a_worker_that_ends() -> None:
    """A call that reaches it on its way out reads Triton's words."""
    assert draining_error().message.startswith(
        "Server is stopping, scheduler for model has stopped accepting new inference requests"
    )


def test_a_message_over_the_limit() -> None:
    """The words are grpcio's, with both sizes; what follows them is our advice."""
    told = refusals.message_too_large("8388633", 4_194_304)
    assert told.startswith("Received message larger than max (8388633 vs. 4194304)")
