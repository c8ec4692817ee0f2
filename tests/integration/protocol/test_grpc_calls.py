"""The gRPC side: contents, messages, codings, deadlines, statuses, streams."""

import queue
import struct
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.grpc import service_pb2 as pb

from runtimes.datatypes import DTYPES, Datatype
from tests.fakes.protocol_server import LIMIT_S, Served, grpc_request, tensors
from tests.fakes.worker_process import wait_until

X = np.arange(16, dtype=np.float32).reshape(1, 16)
CONTENTS = {
    "BOOL": ("bool_contents", [True, False]),
    "UINT8": ("uint_contents", [0, 255]),
    "UINT16": ("uint_contents", [0, 2**16 - 1]),
    "UINT32": ("uint_contents", [0, 2**32 - 1]),
    "UINT64": ("uint64_contents", [0, 2**64 - 1]),
    "INT8": ("int_contents", [-128, 127]),
    "INT16": ("int_contents", [-(2**15), 2**15 - 1]),
    "INT32": ("int_contents", [-(2**31), 2**31 - 1]),
    "INT64": ("int64_contents", [-(2**63), 2**63 - 1]),
    "FP32": ("fp32_contents", [0.5, -1.25]),
    "FP64": ("fp64_contents", [0.1, 5e-324]),
    "BYTES": ("bytes_contents", [b"", "é".encode()]),
}


def typed_call(datatype: str) -> pb.ModelInferRequest:
    """A call whose data is in the typed field of its datatype."""
    field, values = CONTENTS[datatype]
    call = pb.ModelInferRequest(model_name=f"id_{datatype}")
    tensor = call.inputs.add(name="INPUT0", datatype=datatype, shape=[1, 2])
    getattr(tensor.contents, field).extend(values)
    return call


def raw(datatype: str) -> bytes:
    """The same data as raw bytes."""
    _, values = CONTENTS[datatype]
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(text)) + text for text in values)
    return np.array(values, DTYPES[Datatype(datatype)]).tobytes()


@pytest.mark.parametrize("datatype", CONTENTS)
def test_typed_and_raw_contents_are_the_same_call(served: Served, datatype: str) -> None:
    """KServe's client sends typed contents, tritonclient raw ones; the reply is raw for both."""
    typed = typed_call(datatype)
    plain = typed_call(datatype)
    plain.inputs[0].ClearField("contents")
    plain.raw_input_contents.append(raw(datatype))

    replies = [served.stub.ModelInfer(call) for call in (typed, plain)]

    assert [list(reply.raw_output_contents) for reply in replies] == [[raw(datatype)]] * 2
    assert not any(reply.outputs[0].HasField("contents") for reply in replies)


@pytest.mark.parametrize("datatype", CONTENTS)
def test_contents_and_raw_together_are_refused(served: Served, datatype: str) -> None:
    """Nobody could say which of the two is meant."""
    call = typed_call(datatype)
    call.raw_input_contents.append(raw(datatype))

    code, text = served.grpc_refusal(call)

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text == (
        "contents field must not be specified when using raw_input_contents for 'INPUT0' for "
        f"model 'id_{datatype}'"
    )


def test_every_output_has_its_raw_entry(served: Served) -> None:
    """One entry per output in order, empty tensors too; an id is echoed, all are described."""
    a = np.full((1, 16), 3, np.int32)
    call = grpc_request("simple", ("INPUT0", a), ("INPUT1", a))
    call.id = "r"
    empty = grpc_request("id_FP32", ("INPUT0", np.empty((0, 2), np.float32)))

    reply, nothing = served.stub.ModelInfer(call), served.stub.ModelInfer(empty)

    assert (reply.model_name, reply.model_version, reply.id) == ("simple", "1", "r")
    assert [(o.name, o.datatype, list(o.shape)) for o in reply.outputs] == [
        ("OUTPUT0", "INT32", [1, 16]),
        ("OUTPUT1", "INT32", [1, 16]),
    ]
    assert list(reply.raw_output_contents) == [(a + a).tobytes(), (a - a).tobytes()]
    assert list(nothing.raw_output_contents) == [b""]


def test_large_messages_go_both_ways(served: Served) -> None:
    """More than grpc's own 4 MiB, in and out."""
    values = np.arange(2 << 20, dtype=np.float32).reshape(1024, 2048)

    answer = served.grpc.infer("id_FP32", tensors(triton_grpc, ("INPUT0", values)))

    assert np.array_equal(answer.as_numpy("OUTPUT0"), values)


@pytest.mark.front_desk("the coding of gRPC messages, which the stand-in for HAProxy undoes")
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("rows", [1, 512], ids=["small", "large"])
def test_compressed_messages_are_read(served: Served, coding: str, rows: int) -> None:
    """A compressing client's small message comes uncompressed under the same header."""
    values = np.zeros((rows, 16), np.float32)

    answer = served.grpc.infer(
        "id_FP32", tensors(triton_grpc, ("INPUT0", values)), compression_algorithm=coding
    )

    assert np.array_equal(answer.as_numpy("OUTPUT0"), values)


def test_a_deadline_that_passes_in_the_queue_runs_nothing(served: Served) -> None:
    """The client gets DEADLINE_EXCEEDED, and its call is counted as no execution."""
    call = grpc_request("slow", ("x", np.ones((1, 4), np.float32)), ("n", np.array([20], np.int64)))
    before = served.statistics("slow")

    with ThreadPoolExecutor(2) as pool:
        patient = [pool.submit(lambda: served.stub.ModelInfer(call)) for _ in range(2)]
        wait_until(lambda: served.waiting("slow") == 1, "one call runs and one waits")
        with pytest.raises(grpc.RpcError) as caught:
            served.stub.ModelInfer(call, timeout=0.1)
        assert [each.result().model_name for each in patient] == ["slow", "slow"]
    after = served.statistics("slow")

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert after["execution_count"] == before["execution_count"] + 2


@pytest.mark.front_desk("metadata over gRPC")
@pytest.mark.parametrize("name", ["caf\u00e9 100%", "a b", "\u6a21\u578b"])
def test_messages_are_the_same_text_on_both_wires(served: Served, name: str) -> None:
    """Text beyond ASCII and percent signs arrive as they were written."""
    refusals = []
    for client in served.clients:
        with pytest.raises(triton_grpc.InferenceServerException) as caught:
            client.get_model_metadata(name)
        refusals.append(caught.value.message())

    assert refusals == [f"Request for unknown model: '{name}' is not found"] * 2


@pytest.mark.front_desk("streams")
def test_a_stream_outlives_a_refused_call(served: Served) -> None:
    """A bad call has its error and id; later ones are answered, each marked as final."""
    answers: queue.Queue[tuple[object, object]] = queue.Queue()
    client = triton_grpc.InferenceServerClient(served.instance.grpc)
    client.start_stream(lambda result, error: answers.put((result, error)))
    try:
        for name, request_id in (("tiny", "1"), ("nobody", "2"), ("tiny", "3")):
            client.async_stream_infer(name, tensors(triton_grpc, ("x", X)), request_id=request_id)
        found = [answers.get(timeout=LIMIT_S) for _ in range(3)]
    finally:
        client.stop_stream()
        client.close()

    (first, _), (_, refused), (third, _) = found
    assert "Request for unknown model: 'nobody' is not found" in str(refused)
    for result, request_id in ((first, "1"), (third, "3")):
        reply = result.get_response()
        assert reply.id == request_id
        assert reply.parameters["triton_final_response"].bool_param


@pytest.mark.front_desk("streams")
def test_the_error_of_a_stream_names_its_call(served: Served) -> None:
    """The reply that carries an error message carries the id of the call, too."""
    call = grpc_request("nobody", ("x", X))
    call.id = "lost"

    (reply,) = served.stub.ModelStreamInfer(iter([call]), timeout=LIMIT_S)

    assert reply.error_message == "Request for unknown model: 'nobody' is not found"
    assert reply.infer_response.id == "lost"


@pytest.mark.front_desk("health over gRPC")
def test_grpc_health_is_served(served: Served) -> None:
    """What orchestrators probe says that the server serves."""
    check = served.channel.unary_unary("/grpc.health.v1.Health/Check")

    assert check(b"", timeout=LIMIT_S) == b"\x08\x01"  # status: SERVING


@pytest.mark.front_desk("methods other than ModelInfer")
@pytest.mark.parametrize(
    "method", ["/inference.GRPCInferenceService/Nothing", "/other.Service/Call"]
)
def test_unknown_methods_are_unimplemented(served: Served, method: str) -> None:
    """A method that nobody has is told so."""
    call = served.channel.unary_unary(method)

    with pytest.raises(grpc.RpcError) as caught:
        call(b"", timeout=LIMIT_S)

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.front_desk("health over gRPC")
def test_unloaded_and_unknown_are_false_and_ok(served: Served) -> None:
    """ModelReady has no error status for a model that is not there."""
    for name in ("spare", "nobody"):
        assert served.stub.ModelReady(pb.ModelReadyRequest(name=name)).ready is False


def test_calls_in_parallel_get_their_own_answers(served: Served) -> None:
    """A shared channel mixes no calls up."""

    def ask(number: int) -> bool:
        x = np.full((1, 16), number, np.float32)
        reply = served.stub.ModelInfer(grpc_request("id_FP32", ("INPUT0", x)))
        return bool(reply.raw_output_contents[0] == x.tobytes())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(64)))
