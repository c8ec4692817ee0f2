"""What a load request may bring, and what it may not."""

import base64
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import InvalidArgumentError
from serving.edge.control import LoadOverride
from serving.edge.load_parameters import load_override, refuse_unknown

PARTS = st.lists(st.sampled_from(["1", "..", ".", "", "a b", "\\", "é", "x" * 256]), max_size=5)


def test_files_come_as_base64_or_as_bytes() -> None:
    """HTTP carries text, gRPC bytes; both mean the same."""
    config = '{"name": "m"}'
    text = base64.b64encode(b"\0model").decode()

    over_http = load_override({"config": config, "file:1/model.onnx": text})
    over_grpc = load_override({"config": config, "file:1/model.onnx": b"\0model"})

    assert over_http == over_grpc
    assert over_http == LoadOverride(config=config, files={"1/model.onnx": b"\0model"})


def test_nothing_given_is_no_override() -> None:
    """A load without parameters takes the folder as it is."""
    assert load_override({}) is None


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"config": "{"}, "no model configuration"),
        ({"config": "[" * 100_000}, "no model configuration"),
        ({"config": "[]"}, "no model configuration"),
        ({"config": 3}, "no model configuration"),
        ({"file:1/a": b""}, "send both"),
        ({"config": "{}", "file:": b""}, "no path inside"),
        ({"config": "{}", "file:../a": b""}, "no path inside"),
        ({"config": "{}", "file:/etc/passwd": b""}, "no path inside"),
        ({"config": "{}", "file:1/a\0": b""}, "no path inside"),
        ({"config": "{}", "file:1/" + "x" * 256: b""}, "a part of 256 bytes"),
        ({"config": "{}", "file:" + "x/" * 600 + "x": b""}, "1201 characters"),
        ({"config": "{}", "file:1": b"", "file:1/a": b""}, "both a file and a folder"),
        ({"config": "{}", "file:1/a": "?"}, "no base64"),
        ({"config": "{}", "file:1/a": 7}, "is no file"),
        ({"config": "{}", **{f"file:{n}": b"" for n in range(1025)}}, "at most 1024"),
    ],
)
def test_what_is_of_no_use_is_refused(parameters: dict[str, object], words: str) -> None:
    """Each is the client's mistake, and named."""
    with pytest.raises(InvalidArgumentError) as caught:
        load_override(parameters)

    assert words in caught.value.message


def test_an_unknown_parameter_is_named() -> None:
    """In Triton's words."""
    with pytest.raises(InvalidArgumentError, match=r"^unrecognized load parameter 'x'\.$"):
        refuse_unknown({"config": "{}", "x": 1})


@given(PARTS)
def test_no_path_leaves_the_folder(parts: list[str]) -> None:
    """Whatever is accepted lies below the model's folder, under its own name."""
    path = "/".join(parts)
    try:
        found = load_override({"config": "{}", f"file:{path}": b""})
    except InvalidArgumentError:
        return
    assert found is not None
    assert all(
        PurePosixPath("/m", name).is_relative_to("/m") and ".." not in PurePosixPath(name).parts
        for name in found.files
    )
