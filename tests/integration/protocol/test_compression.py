"""Compressed requests and replies over HTTP, and what is never compressed."""

import gzip
import json
import zlib

import numpy as np
import pytest
import tritonclient.http as triton_http

from tests.fakes.protocol_server import Served, json_input, ones, tensors

X = np.arange(16, dtype=np.float32).reshape(1, 16)
PACK = {"gzip": gzip.compress, "deflate": zlib.compress}
UNPACK = {"gzip": gzip.decompress, "deflate": zlib.decompress}
INFER = "/v2/models/tiny/infer"


@pytest.mark.parametrize("coding", PACK)
def test_compressed_requests_are_inflated_first(served: Served, coding: str) -> None:
    """The header's length counts decompressed bytes."""
    header = json.dumps(
        {"inputs": [json_input("x", "FP32", (1, 16), None, binary_data_size=64)]}
    ).encode()
    body = PACK[coding](header + X.tobytes())
    headers = {"Content-Encoding": coding, "Inference-Header-Content-Length": str(len(header))}

    reply = served.ask("POST", INFER, body, headers)

    assert reply.status == 200, reply.body


@pytest.mark.parametrize("coding", PACK)
def test_replies_are_compressed_as_asked(served: Served, coding: str) -> None:
    """One coding that is asked for is used, in lower case; its header counts inflated bytes."""
    document = ones(8, parameters={"binary_data_output": True})
    reply = served.infer("tiny", document, Accept_Encoding=coding)
    plain = served.infer("tiny", document)

    assert reply.headers["content-encoding"] == coding
    assert UNPACK[coding](reply.body) == plain.body
    assert (
        reply.headers["inference-header-content-length"]
        == plain.headers["inference-header-content-length"]
    )


@pytest.mark.parametrize("coding", PACK)
def test_the_client_library_compresses_both_ways(served: Served, coding: str) -> None:
    """The client library's own compression of requests and replies works."""
    result = served.http.infer(
        "tiny",
        tensors(triton_http, ("x", X)),
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )

    assert result.as_numpy("y").shape == (1, 4)


@pytest.mark.parametrize(
    "path", ["/v2", "/v2/models/tiny", "/v2/models/tiny/config", "/v2/models/tiny/stats", "/nope"]
)
def test_nothing_but_infer_replies_is_compressed(served: Served, path: str) -> None:
    """The client library decompresses nothing else."""
    reply = served.ask("GET", path, headers={"Accept-Encoding": "gzip"})

    assert "content-encoding" not in reply.headers
    assert isinstance(reply.json(), dict)


@pytest.mark.front_desk("the repository's index")
def test_the_index_and_errors_are_not_compressed(served: Served) -> None:
    """Neither is the repository's index, nor a refused call."""
    index = served.ask("POST", "/v2/repository/index", b"", {"Accept-Encoding": "gzip"})
    refused = served.ask("POST", INFER, b"{", {"Accept-Encoding": "gzip"})

    assert isinstance(index.json(), list)
    assert refused.refusal()[0] == 400


@pytest.mark.parametrize("asked", ["br", "zstd", "br, zstd", "gzip;q=0", "identity"])
def test_no_other_coding_is_ever_chosen(served: Served, asked: str) -> None:
    """Codings that the protocol does not have, and excluded ones, give a plain reply."""
    reply = served.infer("tiny", ones(), Accept_Encoding=asked)

    assert reply.status == 200
    assert "content-encoding" not in reply.headers


@pytest.mark.parametrize("coding", PACK)
def test_a_decompression_bomb_is_stopped(served: Served, coding: str) -> None:
    """A small body that grows past the limit is refused at the limit."""
    bomb = PACK[coding](bytes(80 << 20))

    status, text = served.ask("POST", INFER, bomb, {"Content-Encoding": coding}).refusal()

    assert status in {400, 413}
    assert text.startswith("Decompressed data size exceeds the maximum allowed value of ")
    assert served.http.is_server_live()


def test_an_unknown_coding_is_refused_with_the_known_ones(served: Served) -> None:
    """The reply's header says what would have worked."""
    reply = served.ask("POST", INFER, b"x", {"Content-Encoding": "br"})

    assert reply.refusal()[0] == 415
    assert reply.refusal()[1].startswith("Unsupported compression type")
    assert reply.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("coding", PACK)
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"garbage", "encountered inconsistent stream state during decompression"),
        (b"", "nothing to be decompressed"),
    ],
)
def test_a_corrupt_body_is_told(served: Served, coding: str, body: bytes, words: str) -> None:
    """What cannot be inflated is the caller's mistake."""
    status, text = served.ask("POST", INFER, body, {"Content-Encoding": coding}).refusal()

    assert (status, text[: len(words)]) == (400, words)
