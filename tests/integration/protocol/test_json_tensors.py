"""Inference with JSON tensors: elements, shapes, outputs, what a reply says of itself."""

import json

import numpy as np
import pytest
import tritonclient.http as triton_http

from runtimes.datatypes import DTYPES, Datatype
from tests.fakes.protocol_server import Served, json_input, ones

ELEMENTS = {
    "BOOL": [True, False, False, True],
    "UINT8": [0, 1, 2, 255],
    "UINT16": [0, 1, 2, 2**16 - 1],
    "UINT32": [0, 1, 2, 2**32 - 1],
    "UINT64": [0, 1, 2**53 + 1, 2**64 - 1],
    "INT8": [-128, -1, 0, 127],
    "INT16": [-(2**15), -1, 0, 2**15 - 1],
    "INT32": [-(2**31), -1, 0, 2**31 - 1],
    "INT64": [-(2**63), -1, 2**53 + 1, 2**63 - 1],
    "FP32": [0.5, -1.25, 3, 1e30],
    "FP64": [0.1, -1e300, 5e-324, 3],
    "BYTES": ["", "abc", "é€", 'nul\0quote"'],
}
INFINITE = "[NaN, Infinity, -Infinity, 1.5]"


@pytest.mark.parametrize("datatype", ELEMENTS)
@pytest.mark.parametrize("form", ["flat", "nested"])
def test_every_datatype_that_json_has_comes_back_flat(
    served: Served, datatype: str, form: str
) -> None:
    """Flat and nested data are the same tensor, exactly, to the last of 64 bits."""
    flat = ELEMENTS[datatype]
    data = flat if form == "flat" else [flat[:2], flat[2:]]
    reply = served.infer(
        f"id_{datatype}", {"inputs": [json_input("INPUT0", datatype, (2, 2), data)]}
    )

    assert reply.status == 200, reply.body
    assert reply.json()["outputs"] == [
        {"name": "OUTPUT0", "datatype": datatype, "shape": [2, 2], "data": flat}
    ]


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        (None, ["OUTPUT0", "OUTPUT1"]),
        ([], ["OUTPUT0", "OUTPUT1"]),
        ([{"name": "OUTPUT1"}], ["OUTPUT1"]),
        ([{"name": "OUTPUT1"}, {"name": "OUTPUT0"}], ["OUTPUT0", "OUTPUT1"]),
    ],
    ids=["absent", "empty", "one", "other order"],
)
def test_outputs_are_those_asked_for(
    served: Served, outputs: list[object] | None, names: list[str]
) -> None:
    """No list or an empty one means all; else only what is listed, in the declared order."""
    inputs = [json_input(name, "INT32", (1, 16), [1] * 16) for name in ("INPUT0", "INPUT1")]
    document = {"inputs": inputs} | ({} if outputs is None else {"outputs": outputs})

    assert [o["name"] for o in served.infer("simple", document).json()["outputs"]] == names


@pytest.mark.parametrize("given", ["r1", 'é \\ "', "0" * 300], ids=["plain", "odd", "long"])
def test_an_id_is_echoed_as_it_came(served: Served, given: str) -> None:
    """The reply has the request's id, byte for byte."""
    assert served.infer("tiny", ones(id=given)).json()["id"] == given


@pytest.mark.parametrize("more", [{}, {"id": ""}], ids=["absent", "empty"])
def test_no_id_gives_none(served: Served, more: dict[str, str]) -> None:
    """Without an id, or with an empty one, the reply has no such key."""
    assert "id" not in served.infer("tiny", ones(**more)).json()


def test_a_reply_names_what_ran(served: Served) -> None:
    """Model and version are in every reply, as strings."""
    reply = served.infer("choice", ones()).json()
    first = served.ask("POST", "/v2/models/choice/versions/1/infer", ones()).json()

    assert (reply["model_name"], reply["model_version"]) == ("choice", "2")
    assert (first["model_name"], first["model_version"]) == ("choice", "1")


def test_unknown_keys_are_ignored(served: Served) -> None:
    """KServe's client adds `model_name` at the top; nobody trips over it."""
    assert served.infer("tiny", ones(model_name="x", more=[{}])).status == 200


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_sixteen_bit_floats_have_no_json_form(served: Served, datatype: str) -> None:
    """FP16 and BF16 are refused as JSON in and out, with the remedy."""
    given = json_input("INPUT0", datatype, (1, 1), [1])
    raw = json_input("INPUT0", datatype, (1, 1), None, binary_data_size=2)

    assert served.infer(f"id_{datatype}", {"inputs": [given]}).refusal()[1] == (
        f"receiving {datatype} data via JSON is not supported. Please use the binary data format "
        "for input INPUT0"
    )
    status, text = served.infer(f"id_{datatype}", {"inputs": [raw]}, b"\0\0").refusal()
    assert status == 400
    assert text.startswith(
        f"sending {datatype} data via JSON is not supported. Please use the binary data format for "
        "output"
    )


@pytest.mark.parametrize("datatype", ["FP32", "FP64"])
def test_bare_nan_and_infinities_go_both_ways(served: Served, datatype: str) -> None:
    """The client library writes and reads them bare, and gets the same values back."""
    text = json.dumps({"inputs": [json_input("INPUT0", datatype, (2, 2), "DATA")]}).replace(
        '"DATA"', INFINITE
    )
    reply = served.ask("POST", f"/v2/models/id_{datatype}/infer", text.encode())
    values = np.array([[np.nan, np.inf], [-np.inf, 1.5]], DTYPES[Datatype(datatype)])
    tensor = triton_http.InferInput("INPUT0", [2, 2], datatype)
    tensor.set_data_from_numpy(values, binary_data=False)
    output = triton_http.InferRequestedOutput("OUTPUT0", binary_data=False)
    answer = served.http.infer(f"id_{datatype}", [tensor], outputs=[output]).as_numpy("OUTPUT0")

    assert reply.status == 200, reply.body
    np.testing.assert_array_equal(np.array(reply.json()["outputs"][0]["data"]), values.ravel())
    np.testing.assert_array_equal(answer, values)


def test_a_listed_output_is_json_unless_it_says_so(served: Served) -> None:
    """`binary_data_output` is about outputs that are not listed."""
    document = ones(parameters={"binary_data_output": True}, outputs=[{"name": "y"}])

    reply = served.infer("tiny", document)

    assert "inference-header-content-length" not in reply.headers
    assert len(reply.json()["outputs"][0]["data"]) == 4


def test_all_datatypes_are_tried() -> None:
    """What is asked here is every datatype but those that JSON cannot carry."""
    assert set(ELEMENTS) == set(Datatype) - {"FP16", "BF16"}
