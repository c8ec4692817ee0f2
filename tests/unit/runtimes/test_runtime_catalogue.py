"""Formats by name and by file name."""

import pytest

from runtimes.catalogue import format_of, runtime_for
from runtimes.errors import UnsupportedError


def test_runtime_is_found_by_its_name() -> None:
    """A known format gives a runtime with the platform and backend that metadata shows."""
    runtime = runtime_for("echo")

    assert (runtime.platform, runtime.backend) == ("echo", "echo")


def test_unknown_format_names_the_known_ones() -> None:
    """An unknown format is refused with the list of what there is."""
    with pytest.raises(UnsupportedError, match="'tflite': known are onnx, torchscript, torch_e"):
        runtime_for("tflite")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.onnx", "onnx"),
        ("a/b/MODEL.ONNX", "onnx"),
        ("model.pt", "torchscript"),
        ("model.jit", "torchscript"),
        ("model.echo", "echo"),
    ],
)
def test_format_follows_the_suffix(name: str, expected: str) -> None:
    """The suffix decides, in any case of letters."""
    assert format_of(name) == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.pt2", "can run code"),
        ("model.plan", "names end in .onnx"),
        ("model", "no model file"),
    ],
)
def test_other_suffixes_are_refused(name: str, words: str) -> None:
    """What is not served is refused with the reason, torch.export archives with their own."""
    with pytest.raises(UnsupportedError, match=words):
        format_of(name)
