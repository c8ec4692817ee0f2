"""What of a call's metadata goes with it when it is sent into the edge again."""

import pytest

from serving.edge.grpc_relay import passed_on
from serving.edge.haproxy_config import MAX_STREAMS
from serving.edge.relay_channels import CHANNELS
from serving.edge.sleepers import MAX_CALLS

TRACE = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


def test_what_a_caller_says_goes_with_its_call() -> None:
    """Its trace, its key and its name, repeated ones too, in their order."""
    said = [TRACE, ("bascule-key", "7"), ("x-api-key", ""), ("x-user", "7"), ("x-user", "8 of 9")]
    assert list(passed_on(said)) == said


@pytest.mark.parametrize(
    "one",
    [
        ("bascule-message-bytes", "7"),
        ("bascule-model", "m"),
        ("bascule-woken", "1"),
        ("grpc-accept-encoding", "gzip"),
        ("x-bytes-bin", b"7"),
        ("user-agent", "grpc-python"),
        ("content-length", "7"),
    ],
    ids=lambda one: one[0],
)
def test_what_is_of_one_connection_stays(one: tuple[str, str | bytes]) -> None:
    """The edge, or gRPC, says it anew: of another message."""
    assert list(passed_on([one, TRACE])) == [TRACE]


@pytest.mark.parametrize("one", [("x-name", "caf\u00e9"), ("x-name", "a\tb"), ("x!", "1")], ids=str)
def test_what_grpc_would_refuse_stays(one: tuple[str, str]) -> None:
    """The call goes without it."""
    assert list(passed_on([one, TRACE])) == [TRACE]


def test_calls_that_wait_leave_room_for_others_on_every_connection() -> None:
    """As many as may wait at a time fit with room to spare, however often they have waited."""
    assert CHANNELS * MAX_STREAMS > MAX_CALLS + CHANNELS
