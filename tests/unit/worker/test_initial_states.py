"""What sequences start with."""

from pathlib import Path

import numpy as np
import pytest

from runtimes.datatypes import Datatype
from runtimes.errors import ModelLoadError
from serving.registry.policies.sequence_policy import SequencePolicy, StateTensor
from serving.registry.version import ServingPolicy, VersionSpec
from serving.worker.initial_states import initial_states


def version(folder: Path, *states: StateTensor) -> VersionSpec:
    """A version with states."""
    sequences = SequencePolicy(max_sequences=1, idle_s=1.0, states=states)
    return VersionSpec(
        model="m",
        version=1,
        file=str(folder / "1" / "model.onnx"),
        format="onnx",
        size_bytes=1,
        digest="d",
        origin="",
        policy=ServingPolicy(sequences=sequences),
    )


def state(datatype: Datatype, *dims: int, file: str = "") -> StateTensor:
    """A state of some size."""
    return StateTensor(
        input_name="a",
        output_name="b",
        datatype=datatype,
        dims=dims,
        initial_dims=dims,
        initial_file=file,
    )


def put(folder: Path, name: str, content: bytes) -> None:
    """Write a file of the model's folder."""
    (folder / "initial_state").mkdir(exist_ok=True)
    (folder / "initial_state" / name).write_bytes(content)


def test_without_a_file_it_is_zeros_or_empty_texts(tmp_path: Path) -> None:
    """One row of them where the model batches."""
    spec = version(tmp_path, state(Datatype.FP16, 2), state(Datatype.BYTES, 2))
    numbers, texts = initial_states(spec, max_batch_rows=4)
    assert (numbers.dtype, numbers.shape, numbers.any()) == (np.float16, (1, 2), False)
    assert texts.tolist() == [["", ""]]


def test_a_file_has_the_bytes_of_one_row(tmp_path: Path) -> None:
    """Numbers as the wire carries them, texts with their lengths."""
    put(tmp_path, "n", np.array([1, 2], np.int64).tobytes())
    put(tmp_path, "t", b"\x02\0\0\0hi\0\0\0\0")
    spec = version(tmp_path, state(Datatype.INT64, 2, file="n"), state(Datatype.BYTES, 2, file="t"))
    numbers, texts = initial_states(spec, max_batch_rows=0)
    assert numbers.tolist() == [1, 2]
    assert texts.tolist() == ["hi", ""]


@pytest.mark.parametrize("datatype", [Datatype.INT64, Datatype.BYTES])
def test_a_file_of_another_size_keeps_the_version_from_loading(
    tmp_path: Path, datatype: Datatype
) -> None:
    """And so does one that is not there; the message names state and file."""
    put(tmp_path, "n", b"123")
    wrong = version(tmp_path, state(datatype, 2, file="n"))
    missing = version(tmp_path, state(datatype, 2, file="gone"))
    with pytest.raises(ModelLoadError, match=r"'n'|string"):
        initial_states(wrong, max_batch_rows=0)
    with pytest.raises(ModelLoadError, match="initial state of 'a': 'gone' cannot be read"):
        initial_states(missing, max_batch_rows=0)
