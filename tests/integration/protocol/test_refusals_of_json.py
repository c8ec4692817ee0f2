"""What a JSON request may not be, with Triton's words for each fault."""

import json

import pytest

from tests.fakes.protocol_server import Served, json_input, ones

GOOD = json_input("x", "FP32", (1, 16), [1.0] * 16)
ONE_FIELD = (
    "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', "
    "'shared_memory_region' in 'parameters'. But "
)


def without(key: str) -> dict[str, object]:
    """A good input that lacks a key."""
    return {name: value for name, value in GOOD.items() if name != key}


DOCUMENTS = {
    "inputs absent": (
        {}, "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'"
    ),
    "inputs no array": ({"inputs": {}}, "Unable to parse 'inputs': "),
    "name absent": ({"inputs": [without("name")]}, "Unable to parse 'name': "),
    "name no text": ({"inputs": [GOOD | {"name": 1}]}, "Unable to parse 'name': "),
    "datatype absent": ({"inputs": [without("datatype")]}, "Unable to parse 'datatype': "),
    "shape absent": ({"inputs": [without("shape")]}, "Unable to parse 'shape': "),
    "shape negative": (
        {"inputs": [GOOD | {"shape": [-1, 16]}]},
        "Unable to parse 'shape': attempt to access JSON non-unsigned-integer as unsigned-integer",
    ),
    "shape of text": (
        {"inputs": [GOOD | {"shape": ["1", 16]}]},
        "Unable to parse 'shape': attempt to access JSON non-unsigned-integer as unsigned-integer",
    ),
    "id no text": (
        ones(id=7), "Unable to parse 'id': attempt to access JSON non-string as string"
    ),
    "data too long": (
        {"inputs": [GOOD | {"data": [1.0] * 17}]},
        "Unable to parse 'data': Shape does not match true shape of 'data' field",
    ),
    "data too short": (
        {"inputs": [GOOD | {"data": [1.0] * 15}]},
        "Failed to parse 'data' field: shape does not match true shape",
    ),
    "text for a number": (
        {"inputs": [GOOD | {"data": ["a"] * 16}]},
        "Unable to parse 'data': attempt to access JSON non-number as double",
    ),
    "no data": ({"inputs": [without("data")]}, f"{ONE_FIELD}no field is set"),
    "two kinds of data": (
        {"inputs": [GOOD | {"parameters": {"binary_data_size": 64}}]},
        f"{ONE_FIELD}set 'data' 'binary_data_size'",
    ),
    "unknown datatype": (
        {"inputs": [GOOD | {"datatype": "fp32"}]}, "invalid datatype for input x"
    ),
    "overflow": (
        {"inputs": [GOOD | {"shape": [2**40, 2**40]}]},
        "causes total element count to exceed maximum size of 9223372036854775807",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("document", "words"), DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_a_request_that_is_not_of_the_protocols_form(
    served: Served, document: object, words: str
) -> None:
    """The field and what is wrong with it are told, with 400."""
    status, text = served.infer("tiny", document).refusal()

    assert status == 400
    assert words in text


@pytest.mark.parametrize(
    ("datatype", "data", "words"),
    [
        ("BOOL", [1], "attempt to access JSON non-boolean as boolean"),
        ("INT32", [1.5], "attempt to access JSON non-signed-integer as signed-integer"),
        ("UINT8", ["1"], "attempt to access JSON non-unsigned-integer as unsigned-integer"),
        ("FP64", [True], "attempt to access JSON non-number as double"),
        ("BYTES", [1], "attempt to access JSON non-string as string"),
    ],
)
def test_elements_have_the_type_of_their_datatype(
    served: Served, datatype: str, data: list[object], words: str
) -> None:
    """Nothing is converted in silence."""
    document = {"inputs": [json_input("INPUT0", datatype, (1, 1), data)]}

    status, text = served.infer(f"id_{datatype}", document).refusal()

    assert (status, text) == (400, f"Unable to parse 'data': {words}") or words in text
    assert status == 400


def test_integers_for_floats_are_fine(served: Served) -> None:
    """JSON has one kind of number."""
    document = {"inputs": [json_input("INPUT0", "FP32", (1, 2), [1, 2])]}

    assert served.infer("id_FP32", document).json()["outputs"][0]["data"] == [1.0, 2.0]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[", b"nul", b'{"inputs": [}', b"\xff\xfe", b"\0" * 9, b'{"a":1}x']
)
def test_what_is_no_json_is_told_with_its_place(served: Served, body: bytes) -> None:
    """A body that cannot be parsed is the caller's mistake."""
    status, text = served.ask("POST", "/v2/models/tiny/infer", body).refusal()

    assert status == 400
    assert text.startswith("failed to parse the request JSON buffer: ")


@pytest.mark.parametrize("depth", [101, 100_000])
def test_deep_nesting_ends_nothing(served: Served, depth: int) -> None:
    """Nesting beyond 100 is refused, however deep it is."""
    head, tail = json.dumps({"inputs": [GOOD | {"data": "DATA"}]}).split('"DATA"')
    body = f"{head}{'[' * depth}1{']' * depth}{tail}".encode()

    status, text = served.ask("POST", "/v2/models/tiny/infer", body).refusal()

    assert status == 400
    assert "JSON nesting depth exceeds maximum allowed limit (100)" in text
    assert served.http.is_server_live()
