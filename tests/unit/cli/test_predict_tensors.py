"""Inputs that are typed at a terminal."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import BasculeError, InvalidArgumentError
from serving.cli.predict_tensors import made_up_tensors, tensors_from_files, tensors_from_json

X = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 2))
S = TensorSpec(name="s", datatype=Datatype.BYTES, shape=(-1,))


def test_nested_lists_become_tensors() -> None:
    """A JSON object gives each input by its name, in the model's datatype."""
    x, s = tensors_from_json('{"x": [[1, 2], [3, 4]], "s": ["a", "b"]}', (X, S))

    assert (x.array.dtype, x.array.tolist()) == (np.float32, [[1, 2], [3, 4]])
    assert s.array.tolist() == ["a", "b"]


def test_a_request_of_the_protocol_is_read() -> None:
    """The body of an HTTP call works as it is: flat data in its shape."""
    text = '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}]}'

    (x,) = tensors_from_json(text, (X,))

    assert x.array.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no JSON"),
        ("[1]", "must be a JSON object"),
        ('{"z": 1}', "no input 'z': it takes x, s"),
        ('{"x": [[1], [2, 3]]}', "no FP32 tensor"),
        ('{"x": "text"}', "no FP32 tensor"),
        ('{"x": 1e39}', "no FP32 tensor"),
        ('{"s": [1]}', "must be a text"),
        ('{"inputs": [{"name": "x"}]}', "data"),
        ('{"inputs": [{"name": "x", "data": [1], "shape": [2]}]}', "no FP32 tensor"),
    ],
)
def test_wrong_json_is_said(text: str, words: str) -> None:
    """What does not fit the model is named."""
    with pytest.raises(InvalidArgumentError, match=words):
        tensors_from_json(text, (X, S))


@given(st.text(max_size=30) | st.recursive(st.none() | st.floats(), st.lists).map(json.dumps))
def test_no_json_raises_outside_the_tree(text: str) -> None:
    """Any text is read or refused with one of our errors."""
    try:
        tensors_from_json(f'{{"x": {text}}}', (X,))
    except BasculeError as error:
        assert error.message  # noqa: PT017  refused or read, both are right


@pytest.mark.parametrize("datatype", list(Datatype), ids=str)
def test_made_up_values_fit_every_datatype(datatype: Datatype) -> None:
    """Free first dimensions become the rows asked for, others 1; values are the same each time."""
    specs = (TensorSpec(name="x", datatype=datatype, shape=(-1, -1, 3)),)

    (tensor,) = made_up_tensors(specs, rows=2)

    assert tensor.array.shape == (2, 1, 3)
    assert tensor.array.dtype == DTYPES[datatype]
    assert tensor.array.tobytes() == made_up_tensors(specs, rows=2)[0].array.tobytes()


def test_arrays_come_from_files(tmp_path: Path) -> None:
    """A .npy file is an input, numbers or text."""
    np.save(tmp_path / "x.npy", np.ones((1, 2), dtype=np.float64))
    np.save(tmp_path / "s.npy", np.array(["a", "bc"]))

    x, s = tensors_from_files({"x": tmp_path / "x.npy", "s": tmp_path / "s.npy"}, (X, S))

    assert (x.array.dtype, x.array.tolist()) == (np.float32, [[1, 1]])
    assert s.array.tolist() == ["a", "bc"]


@pytest.mark.parametrize(
    ("datatype", "array", "told"),
    [
        (Datatype.UINT8, np.array([[1, 300]]), r"\[0, 1\] is 300, which UINT8 cannot hold"),
        (Datatype.INT64, np.array([[1.5]]), "is 1.5, which INT64 cannot hold"),
        (Datatype.INT64, np.array([[np.nan]]), "is nan, which INT64 cannot hold"),
        (Datatype.FP32, np.array([[1e300]]), "is 1e\\+300, which FP32 cannot hold"),
        (Datatype.FP32, np.array([[1 + 2j]]), "complex numbers do not travel"),
        (Datatype.UINT64, np.array([[-1]]), "is -1, which UINT64 cannot hold"),
    ],
)
def test_no_other_number_is_sent_in_place_of_what_was_given(
    tmp_path: Path, datatype: Datatype, array: np.ndarray, told: str
) -> None:
    """What an input's datatype cannot hold is refused, not wrapped, cut or made infinite."""
    spec = TensorSpec(name="x", datatype=datatype, shape=(-1, -1))
    np.save(tmp_path / "x.npy", array)

    with pytest.raises(InvalidArgumentError, match=told):
        tensors_from_files({"x": tmp_path / "x.npy"}, (spec,))


def test_whole_numbers_are_whole_in_json_too() -> None:
    """1.0 is 1, 1.5 is none, and the largest of 64 bits are as they were written."""
    spec = TensorSpec(name="x", datatype=Datatype.UINT64, shape=(-1,))

    (tensor,) = tensors_from_json('{"x": [18446744073709551615, 1]}', (spec,))
    assert tensor.array.tolist() == [2**64 - 1, 1]
    (tensor,) = tensors_from_json('{"x": [1.0]}', (spec,))
    assert tensor.array.tolist() == [1]
    with pytest.raises(InvalidArgumentError, match=r"1\.5 is no whole number"):
        tensors_from_json('{"x": [1.5]}', (spec,))


def test_a_file_of_several_arrays_is_no_input(tmp_path: Path) -> None:
    """A .npz is told by what it is not."""
    np.savez(tmp_path / "x.npz", a=np.ones(2))

    with pytest.raises(InvalidArgumentError, match=r"is no \.npy file"):
        tensors_from_files({"x": tmp_path / "x.npz"}, (X,))


def test_pickled_arrays_are_never_read(tmp_path: Path) -> None:
    """A .npy file with objects could run code: it is refused."""
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)

    with pytest.raises(InvalidArgumentError, match="never read"):
        tensors_from_files({"x": tmp_path / "x.npy"}, (X,))


@pytest.mark.parametrize("rows", [10**13, 10**19])
def test_more_than_fits_into_memory_is_told(rows: int) -> None:
    """Too many made-up rows are a mistake of the command line, with the shape that they make."""
    spec = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 16))

    with pytest.raises(InvalidArgumentError, match=r"'x' of shape \[10+, 16\] does not fit"):
        made_up_tensors([spec], rows)
