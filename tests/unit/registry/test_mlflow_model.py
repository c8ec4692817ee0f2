"""MLmodel files: what is read, what is told, and what is refused of untrusted YAML."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import BasculeError, InvalidArgumentError
from serving.registry.interchange.mlflow_model import MAX_MLMODEL_BYTES, MlflowModel, parse_mlmodel
from tests.fakes.mlflow_folders import mlmodel, onnx_flavour, pytorch_flavour


def parse(said: object) -> MlflowModel:
    """Read what MLflow would write."""
    return parse_mlmodel(yaml.safe_dump(said).encode(), "MLmodel")


def test_an_onnx_model_is_read() -> None:
    """Flavour, signature and origin are read; everything else is told by name."""
    model = parse(mlmodel(onnx_flavour()))

    assert model == MlflowModel(
        flavour="onnx",
        data="model.onnx",
        flavours=("onnx", "python_function"),
        inputs=(TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 16)),),
        outputs=(TensorSpec(name="y", datatype=Datatype.FP32, shape=(-1, 4)),),
        run_id="a692b874a5464d9ea0d822b42fcd0001",
        model_id="2cb018e2588e478a97e626ea187b2c97",
        created_utc=datetime(2026, 2, 17, 17, 0, 59, 55824, tzinfo=UTC),
        losses=(
            "flavour python_function: not imported",
            "MLmodel artifact_path: not used",
            "MLmodel model_size_bytes: not used",
        ),
    )


def test_a_pytorch_model_is_read() -> None:
    """Its flavour names a folder; tensors without names are numbered."""
    unnamed = '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]'
    model = parse(mlmodel(pytorch_flavour(), signature={"inputs": unnamed, "outputs": unnamed}))

    assert (model.flavour, model.data) == ("pytorch", "data")
    assert [spec.name for spec in (*model.inputs, *model.outputs)] == ["INPUT__0", "OUTPUT__0"]


@pytest.mark.parametrize(
    ("signature", "told"),
    [
        ({"inputs": '[{"type": "double", "name": "age"}]'}, "not all of it are tensors"),
        (
            {"inputs": '[{"tensor-spec": {"dtype": "complex64", "shape": [1]}}]'},
            "not all of it are tensors",
        ),
        ({"inputs": "[]", "params": '[{"name": "k"}]'}, "MLmodel signature.params: not used"),
    ],
)
def test_what_of_a_signature_is_no_tensor_is_told(signature: dict[str, str], told: str) -> None:
    """Columns of a table and parameters are left to the model itself, and listed."""
    model = parse(mlmodel(onnx_flavour(), signature=signature))

    assert model.inputs == ()
    assert any(told in loss for loss in model.losses)


def bomb() -> bytes:
    """A kilobyte of YAML that stands for billions of elements."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join((*lines, "flavors: {}")).encode()


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        pytest.param(bomb(), "anchor or alias", id="bomb"),
        pytest.param(b"a: &a [*a]", "anchor or alias", id="endless"),
        pytest.param(b"#" * (MAX_MLMODEL_BYTES + 1), "too many", id="giant"),
        pytest.param(b"[" * 5000, "nested more than", id="deep"),
        pytest.param(b"x: !!python/object/apply:os.system [id]", "no YAML", id="code"),
        pytest.param(b"\xff\xfe\x00", "no YAML", id="bytes"),
        pytest.param(b"a: b: c", "no YAML", id="broken"),
        pytest.param(b"flavors: {onnx: {data: 3}}", "flavors.onnx.data", id="number"),
        pytest.param(b"flavors: {onnx: {}}", "flavors.onnx.data", id="missing"),
        pytest.param(b"{}", "flavors", id="nothing"),
        pytest.param(b"just text", "MLmodel", id="text"),
        pytest.param(b"flavors: {}\nsignature: {inputs: '{'}", "no JSON", id="json"),
        pytest.param(
            b"flavors: {}\nsignature: {inputs: '" + b"[" * 90_000 + b"'}", "no JSON", id="deep json"
        ),
        pytest.param(
            b"""{flavors: {}, signature: {inputs: '[{"tensor-spec": {"shape": [-2]}}]'}}""",
            "signature.inputs",
            id="shape",
        ),
        pytest.param(b"flavors: {}\nutc_time_created: yesterday", "is no time", id="time"),
    ],
)
def test_hostile_files_are_refused(raw: bytes, told: str) -> None:
    """Each is refused quickly with one of our errors, which names the file."""
    with pytest.raises(InvalidArgumentError, match=told) as caught:
        parse_mlmodel(raw, "MLmodel")
    assert caught.value.message.startswith("MLmodel: ")


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["flavors", "signature", "run_id", "model_uuid", "utc_time_created", "metadata"]
)


@given(
    st.binary(max_size=60) | st.dictionaries(KEYS, VALUES).map(lambda v: yaml.safe_dump(v).encode())
)
def test_no_bytes_raise_outside_the_tree(raw: bytes) -> None:
    """Any bytes, and any values of the known keys, are read or refused with one of our errors."""
    with suppress(BasculeError):
        parse_mlmodel(raw, "MLmodel")
