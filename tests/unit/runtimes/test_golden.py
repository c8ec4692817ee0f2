"""Golden samples: their files, and running them again."""

import io
import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import Array, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError
from runtimes.golden import (
    Sample,
    decode_sample,
    encode_sample,
    read_sample,
    replay,
    write_sample,
)
from runtimes.npz_file import decode_arrays, encode_arrays
from runtimes.signature import Signature
from runtimes.tolerance import BITWISE, Tolerance
from tests.fakes.function_model import FunctionModel
from tests.fakes.tensor_strategies import tensors

DATATYPES = {dtype: datatype for datatype, dtype in DTYPES.items()}


def spec_of(array: Array, name: str = "t", *, optional: bool = False) -> TensorSpec:
    """The spec of a tensor."""
    return TensorSpec(
        name=name, datatype=DATATYPES[array.dtype], shape=array.shape, optional=optional
    )


def specs_of(sample: Sample) -> Signature:
    """The specs of a sample's tensors; what is missing is optional."""
    absent = np.zeros(1, np.float32)
    return Signature(
        max_batch_rows=0,
        inputs=tuple(
            spec_of(absent if array is None else array, optional=array is None)
            for array in sample.inputs
        ),
        outputs=tuple(spec_of(array) for array in sample.outputs),
    )


def same(one: Array | None, other: Array | None) -> bool:
    """Equal bit for bit, dtype and shape included."""
    if one is None or other is None:
        return one is other
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return (
        one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes()
    )


samples = st.builds(
    lambda inputs, outputs: Sample(inputs=tuple(inputs), outputs=tuple(outputs)),
    st.lists(st.one_of(st.none(), tensors()), max_size=3),
    st.lists(tensors(), max_size=3),
)


@given(sample=samples)
def test_a_sample_comes_back_from_its_file(sample: Sample) -> None:
    """Every datatype and shape, empty ones and scalars included, is read as it was written."""
    raw = encode_sample(sample)

    found = decode_sample(raw, specs_of(sample), "s.npz")

    assert [*map(same, found.inputs, sample.inputs)] == [True] * len(sample.inputs)
    assert [*map(same, found.outputs, sample.outputs)] == [True] * len(sample.outputs)
    assert raw == encode_sample(found)


@given(sample=samples)
def test_what_is_read_can_be_run(sample: Sample) -> None:
    """Arrays are C-contiguous, aligned and writable, as engines want them."""
    found = decode_sample(encode_sample(sample), specs_of(sample), "s.npz")

    flags = [array.flags for array in found.inputs if array is not None]
    assert all(flag.c_contiguous and flag.aligned and flag.writeable for flag in flags)


@given(raw=st.binary(max_size=300))
def test_random_bytes_are_no_sample(raw: bytes) -> None:
    """Whatever a file holds, the only failure is ours."""
    with pytest.raises(InvalidArgumentError, match=r"s\.npz"):
        decode_arrays(raw, "s.npz")


@given(
    sample=samples,
    place=st.integers(0, 1 << 20),
    byte=st.integers(0, 255),
    cut=st.integers(0, 1 << 20),
)
def test_a_damaged_sample_is_refused_or_read(
    sample: Sample, place: int, byte: int, cut: int
) -> None:
    """A changed byte, or an end that is missing, never raises anything but our error."""
    raw = bytearray(encode_sample(sample))
    raw[place % len(raw)] = byte
    end = len(raw) if cut % 2 else cut % len(raw)
    try:
        found = decode_sample(bytes(raw[:end]), specs_of(sample), "s.npz")
    except InvalidArgumentError as error:
        assert "s.npz" in error.message  # noqa: PT017  either of two ends is right
        return
    assert len(found.outputs) == len(sample.outputs)


HEADERS = st.tuples(
    st.sampled_from(["<f4", "|u1", "|O", "<i8", ">f4", "|b1", "<V2"]),
    st.booleans(),
    st.lists(st.integers(-1, 1 << 62), max_size=70).map(tuple),
)


@given(header=HEADERS, content=st.binary(max_size=64))
def test_a_header_that_lies_is_refused(header: tuple[str, bool, Any], content: bytes) -> None:
    """A shape of any size with bytes of any number is refused before anything is made of it."""
    descr, fortran_order, shape = header
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": descr, "fortran_order": fortran_order, "shape": shape}
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("input_0.npy", stream.getvalue() + content)
    try:
        found = decode_arrays(packed.getvalue(), "s.npz")
    except InvalidArgumentError:
        return
    assert found["input_0"].nbytes == len(content)
    assert prod(found["input_0"].shape) == found["input_0"].size


def test_compressed_arrays_are_refused() -> None:
    """A file cannot grow when it is read: compression is refused, with what to do."""
    stream = io.BytesIO()
    np.savez_compressed(stream, input_0=np.zeros(1 << 20))

    with pytest.raises(InvalidArgumentError, match=r"compressed.*write it with numpy\.savez"):
        decode_arrays(stream.getvalue(), "s.npz")


def test_pickles_are_refused() -> None:
    """An object array, which only a pickle can hold, is refused without being loaded."""
    stream = io.BytesIO()
    np.savez(stream, input_0=np.array(["a"], object))

    with pytest.raises(InvalidArgumentError, match="none of the protocol's datatypes"):
        decode_arrays(stream.getvalue(), "s.npz")


def test_arrays_of_numpy_are_read() -> None:
    """What numpy.savez writes is read, in either order of elements."""
    stream = io.BytesIO()
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.savez(stream, c=array, f=np.asfortranarray(array), scalar=np.int64(3))

    found = decode_arrays(stream.getvalue(), "s.npz")

    assert same(found["c"], array)
    assert same(found["f"], array)
    assert same(found["scalar"], np.array(3))


X = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 2))
Y = TensorSpec(name="y", datatype=Datatype.FP32, shape=(-1, 2))
XY = Signature(max_batch_rows=8, inputs=(X,), outputs=(Y,))
ONES = np.ones((1, 2), np.float32)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"output_0": ONES}, "input_0 .'x'. is missing"),
        ({"input_0": ONES}, "output 'y' is missing"),
        ({"input_0": ONES, "output_0": ONES, "output_1": ONES}, "'output_1' belongs to no tensor"),
        ({"input_0": ONES.astype(float), "output_0": ONES}, "is float64, and a FP32 tensor"),
    ],
    ids=["input", "output", "surplus", "datatype"],
)
def test_a_sample_has_the_tensors_of_its_model(arrays: dict[str, Array], message: str) -> None:
    """What is missing, too much or of another datatype is named."""
    with pytest.raises(InvalidArgumentError, match=message):
        decode_sample(encode_arrays(arrays), XY, "s.npz")


@pytest.mark.parametrize(
    ("content", "shape", "message"),
    [
        (b"\5\0\0\0abc", [1], "text 0 is cut off"),
        (b"\1\0\0\0\xff", [1], "text 0 is not UTF-8"),
        (b"\1\0\0\0a", [2], r"shape \[2\] does not hold 1 texts"),
        (b"", [0, 1 << 62, 1 << 62], "does not hold 0 texts"),
        (b"\1\0\0\0a", [-1], "its shape is missing or wrong"),
    ],
    ids=["cut", "no_text", "count", "huge", "negative"],
)
def test_damaged_texts_are_refused(content: bytes, shape: list[int], message: str) -> None:
    """A BYTES tensor that is cut off, no text, or of another number is refused."""
    arrays = {"input_0": np.frombuffer(content, np.uint8), "input_0_shape": np.array(shape)}
    text = TensorSpec(name="t", datatype=Datatype.BYTES, shape=(-1,))
    specs = Signature(max_batch_rows=0, inputs=(text,), outputs=())

    with pytest.raises(InvalidArgumentError, match=message):
        decode_sample(encode_arrays(arrays), specs, "s.npz")


def test_a_bool_is_nothing_but_0_or_1() -> None:
    """Other bytes in a BOOL tensor are refused: engines take them for granted."""
    flag = TensorSpec(name="b", datatype=Datatype.BOOL, shape=(-1,))
    stored = np.array([7], np.uint8).view(bool)
    raw = encode_arrays({"input_0": stored})

    with pytest.raises(InvalidArgumentError, match="is BOOL and has the byte 7"):
        decode_sample(raw, Signature(max_batch_rows=0, inputs=(flag,), outputs=()), "s.npz")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The message names the file, and says what is wrong."""
    with pytest.raises(InvalidArgumentError, match=r"gone\.npz cannot be read: No such file"):
        read_sample(tmp_path / "gone.npz", XY)


def doubled(scale: float = 2.0) -> FunctionModel:
    """A model x -> y: x * scale."""
    return FunctionModel((X,), (Y,), lambda feeds: [feeds[0] * np.float32(scale)])


def golden_samples(folder: Path) -> list[Sample]:
    """Two samples of the model that doubles, from their files."""
    model = doubled()
    found = []
    for rows in (1, 2):
        inputs = (np.full((rows, 2), rows, np.float32),)
        outputs = tuple(model.run(inputs))
        write_sample(folder / f"{rows}.npz", Sample(inputs=inputs, outputs=outputs))
        found.append(read_sample(folder / f"{rows}.npz", XY))
    return found


def test_a_model_gives_its_golden_outputs_again(tmp_path: Path) -> None:
    """Replaying on the same model is exact."""
    (seen,) = replay(doubled(), golden_samples(tmp_path), [BITWISE])

    assert (seen.name, seen.sample, seen.comparison.is_exact) == ("y", "", True)
    assert seen.comparison.element_count == 6


def test_another_model_is_found_out(tmp_path: Path) -> None:
    """The first difference is named by sample, place and values."""
    (seen,) = replay(doubled(2.5), golden_samples(tmp_path), [Tolerance(kind="close", rtol=0.1)])

    assert (seen.sample, seen.comparison.holds) == ("1.npz", False)
    assert seen.comparison.reason == "2 of 2 elements are outside rtol:0.1,atol:0"
    assert seen.comparison.first_difference == (0, 0)
    assert (seen.comparison.golden_value, seen.comparison.found_value) == ("2.0", "2.5")
    assert seen.comparison.largest_abs == 1.0
