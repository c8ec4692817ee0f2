"""Readers of model files: they tell what is there, never run it, and no bytes surprise them."""

import io
import pickle  # noqa: TID251  writes pickles; nothing here reads one
import pickletools
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtimes.file_kind import read_model_file
from runtimes.model_facts import (
    ExternalData,
    FileKind,
    OnnxModel,
    Pt2Archive,
    TorchScriptArchive,
    UnreadableFile,
    kind_of,
)
from runtimes.onnx_memory import estimate_activations
from runtimes.pickle_scan import foreign_imports, saved_flags
from runtimes.protobuf_slim import KEPT_BYTES, slim
from tests.fakes import archives, models

quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
SEEDS = (models.tiny(), models.slow(), b"PK\x03\x04", b"\x80\x04")


def read(folder: Path, content: bytes, name: str = "model.onnx") -> object:
    """Write a file and read it."""
    file = folder / name
    file.write_bytes(content)
    return read_model_file(file)


def test_an_onnx_file_tells_its_tensors_and_operators(tmp_path: Path) -> None:
    """Opsets, operators, specs and the size of the weights are read off the file."""
    found = read(tmp_path, models.tiny())

    assert isinstance(found, OnnxModel)
    assert [str(use) for use in found.operators] == ["ai.onnx:Gemm"]
    assert [(spec.name, spec.shape) for spec in found.inputs] == [("x", (-1, 16))]
    assert found.weight_bytes == (16 * 4 + 4) * 4
    assert found.unknown_operators == ()


def test_external_data_is_listed_with_its_place(tmp_path: Path) -> None:
    """Tensor, file, offset and length of what lies elsewhere."""
    found = read(tmp_path, models.external("w.bin")[0])

    assert isinstance(found, OnnxModel)
    assert found.external == (
        ExternalData(tensor="W", location="w.bin", offset=0, length=16 * 4 * 4),
    )


def test_operators_in_subgraphs_are_found(tmp_path: Path) -> None:
    """A loop's body counts."""
    found = read(tmp_path, models.slow())

    assert isinstance(found, OnnxModel)
    assert {"Loop", "MatMul"} <= {use.name for use in found.operators}


def test_weights_are_left_out_and_nothing_else() -> None:
    """The slim message is the message without large payloads."""
    whole = onnx.ModelProto()
    whole.ParseFromString(models.slow())
    raw = models.slow()
    small = onnx.ModelProto()
    small.ParseFromString(slim(io.BytesIO(raw), len(raw)))

    for tensor in whole.graph.initializer:
        if len(tensor.raw_data) > KEPT_BYTES:
            tensor.ClearField("raw_data")
    assert small == whole


@quick
@given(seed=st.sampled_from(SEEDS), noise=st.binary(max_size=64), cut=st.integers(0, 400))
def test_no_bytes_surprise_a_reader(tmp_path: Path, seed: bytes, noise: bytes, cut: int) -> None:
    """Any bytes are a model, another file, or unreadable with a reason; never an exception."""
    content = seed[:cut] + noise + seed[cut : cut + 200]

    found = read(tmp_path, content)

    assert not isinstance(found, UnreadableFile) or found.reason


@quick
@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_damaged_archive_never_raises(tmp_path: Path, place: int, value: int) -> None:
    """One changed byte of an archive leaves it readable or damaged."""
    raw = bytearray(archives.exported())
    raw[place % len(raw)] = value

    assert read(tmp_path, bytes(raw), "model.pt2") is not None


def test_torchscript_tells_version_operators_and_mode(tmp_path: Path) -> None:
    """File version, operators beyond torch's functions, and training mode are read as text."""
    flags = pickle.dumps({"training": True}, protocol=2)

    found = read(tmp_path, archives.script(version=7, body="ops.my.op(x)", data=flags), "model.pt")

    assert isinstance(found, TorchScriptArchive)
    assert (found.file_version, found.operators, found.is_training) == (7, ("my::op",), True)
    assert found.pickle_imports == ()


def test_pt2_tells_schema_and_shapes(tmp_path: Path) -> None:
    """Schema, inputs and pickled members."""
    found = read(tmp_path, archives.exported(batch=3, schema=(9, 1)), "model.pt2")

    assert isinstance(found, Pt2Archive)
    assert found.schema_version == (9, 1)
    assert [one.shape for one in found.inputs] == [(3, 4)]
    assert found.pickles == ("data/sample_inputs/model.pt",)


def test_a_checkpoint_is_no_model(tmp_path: Path) -> None:
    """What torch.save writes is told apart from TorchScript by what is in it."""
    found = read(tmp_path, archives.checkpoint(), "model.pt")

    assert kind_of(found) is FileKind.CHECKPOINT  # type: ignore[arg-type]  # any of the records


@pytest.mark.parametrize("protocol", range(6))
def test_imports_are_named_in_every_protocol(protocol: int) -> None:
    """A function that is pickled by name is found, however the name is written."""
    found = foreign_imports(pickle.dumps(Path.unlink, protocol=protocol))

    assert any("unlink" in name or "getattr" in name for name in found)


HIDDEN = {
    "popped away": b"\x80\x04\x8c\x02os\x8c\x06system\x8c\x0bcollections\x8c\x0bOrderedDict00\x93.",
    "from the memo": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94000h\x00h\x01\x93.",
    "as an instance": b"(S'id'\nios\nsystem\n.",
    "copyreg": b"\x80\x02\x82\x01.",
    "under another number": b"\x80\x04\x8c\x01aq\x0aq\x0b0\x8c\x0bcollectionsq\x030\x8c\x02os\x940"
    b"\x8c\x0bOrderedDictq\x040\x8c\x06system\x940h\x03h\x04\x93.",
    "through an allowed one": b"\x80\x04ctorch.jit._pickle\nbuild_intlist.__globals__\n.",
    "in a second pickle": b"\x80\x02K\x01.\x80\x02cos\nsystem\n.",
    "behind what no reader knows": b"\x80\x02K\x01.I0x10\ncos\nsystem\n.",
}


@pytest.mark.parametrize("content", HIDDEN.values(), ids=HIDDEN.keys())
def test_a_name_cannot_hide(content: bytes) -> None:
    """A pickle that brings an allowed name into sight and imports another is not believed."""
    assert foreign_imports(content) != ()


def test_the_flags_of_training_are_read_through_the_memo() -> None:
    """The second module's key is a reference to the first one's text."""
    key = "training"
    raw = pickletools.optimize(pickle.dumps([{key: False}, {key: True}], protocol=2))

    assert saved_flags(raw, key) == {False, True}


def test_activations_grow_with_the_batch(tmp_path: Path) -> None:
    """The estimate is input and output of the one layer for each row."""
    file = tmp_path / "model.onnx"
    file.write_bytes(models.tiny())

    one, many = estimate_activations(file, 1), estimate_activations(file, 64)

    assert (one.peak_bytes, many.peak_bytes) == (20 * 4, 64 * 20 * 4)


def test_sizes_that_no_machine_has_are_still_sizes(tmp_path: Path) -> None:
    """A weight and an input of 2^1240 elements are told and compared as other sizes are."""
    model = onnx.load_from_string(models.tiny())
    claimed = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[2**62] * 20)
    model.graph.initializer.append(claimed)
    model.graph.input[0].CopyFrom(
        onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2**62] * 20)
    )
    found = read(tmp_path, model.SerializeToString())
    run = estimate_activations(tmp_path / "model.onnx", 1)

    assert isinstance(found, OnnxModel)
    assert 1 << 60 <= found.weight_bytes < 1 << 64
    assert run.peak_bytes is None or run.peak_bytes < 1 << 64
