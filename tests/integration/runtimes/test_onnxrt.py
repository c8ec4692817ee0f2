"""ONNX Runtime, really run on the CPU."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from runtimes.batch_proof import settle_signature
from runtimes.contract import Array, LoadedModel, LoadRequest, TensorSpec
from runtimes.cuda_libraries import missing_library
from runtimes.datatypes import DTYPES, Datatype
from runtimes.devices import CPU, Device
from runtimes.errors import EngineError, InvalidArgumentError, ModelLoadError
from runtimes.onnx_runs import BUFFERED_SHAPES, BoundModel
from runtimes.onnxrt import (
    OnnxRuntime,
    open_session,
    provider_problem,
    providers_for,
)
from runtimes.signature import Configured
from runtimes.warmup import warm_up
from tests.fakes import models

Load = Callable[..., LoadedModel]
NUMERIC = [datatype for datatype in Datatype if datatype is not Datatype.BYTES]


def every_pattern(datatype: Datatype) -> Array:
    """Return an array of 256 rows whose bytes take many values, NaN patterns among them."""
    dtype = DTYPES[datatype]
    if datatype is Datatype.BOOL:
        return np.tile([True, False, True], (256, 1))
    if dtype.itemsize <= 2:
        whole = np.arange(256**dtype.itemsize, dtype=f"u{dtype.itemsize}")
        return whole.view(dtype).reshape(256, -1)
    generator = np.random.default_rng(7)
    return np.frombuffer(generator.bytes(256 * 24), dtype).reshape(256, -1)


@pytest.mark.parametrize("datatype", NUMERIC)
def test_datatypes_survive_bit_for_bit(load: Load, datatype: Datatype) -> None:
    """What goes in through any datatype comes out with the same bits, NaN payloads included."""
    model = load(models.identity(datatype))
    sent = every_pattern(datatype)

    (answer,) = model.run([sent])

    assert model.inputs[0].datatype is datatype
    assert answer.dtype == sent.dtype
    assert answer.tobytes() == sent.tobytes()


@pytest.mark.parametrize("datatype", list(Datatype))
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_empty_tensors_keep_their_shape(
    load: Load, datatype: Datatype, shape: tuple[int, int]
) -> None:
    """A dimension of size 0 is legal in every datatype."""
    (answer,) = load(models.identity(datatype)).run([np.empty(shape, DTYPES[datatype])])

    assert (answer.shape, answer.dtype) == (shape, DTYPES[datatype])


@pytest.mark.parametrize("datatype", list(Datatype))
def test_scalars_stay_arrays(load: Load, datatype: Datatype) -> None:
    """A tensor of rank 0 comes back as an array of rank 0."""
    model = load(models.identity(datatype, ()))
    value = "é" if datatype is Datatype.BYTES else 1

    (answer,) = model.run([np.array(value, DTYPES[datatype])])

    assert model.inputs[0].shape == ()
    assert isinstance(answer, np.ndarray)
    assert (answer.shape, answer.item() == value) == ((), True)


def test_a_scalar_listed_as_a_vector_reaches_the_engine_as_a_scalar(load: Load) -> None:
    """`dims: [ 1 ]` is how a configuration says a scalar; the model is fed what it declares."""
    listed = TensorSpec(name="INPUT0", datatype=Datatype.FP32, shape=(1,))
    model = load(models.identity(Datatype.FP32, ()), inputs=(listed,))

    (answer,) = model.run([np.array([3], np.float32)])

    assert model.inputs[0].shape == (1,)
    assert (answer.shape, answer.item()) == ((), 3)


def test_texts_survive(load: Load) -> None:
    """Long texts, embedded NULs and all planes of Unicode go through as `str`."""
    sent = np.array([["", "a\0b"], ["naïve 😀", "x" * 70_000]], object)

    (answer,) = load(models.identity(Datatype.BYTES)).run([sent])

    assert answer.tolist() == sent.tolist()


def test_read_only_feeds_are_taken(load: Load) -> None:
    """Feeds are views of a received body, which nobody may write to."""
    body = np.ones(16, np.float32).tobytes()

    (answer,) = load(models.tiny()).run([np.frombuffer(body, np.float32).reshape(1, 16)])

    assert answer.tolist() == [[-0.5, 0.5, 1.5, 0.75]]


def test_specs_are_read_from_the_model(load: Load) -> None:
    """Names, datatypes and free dimensions come from the file."""
    model = load(models.fail_on_demand())

    assert model.inputs == (
        TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 4)),
        TensorSpec(name="index", datatype=Datatype.INT64, shape=(-1, 1)),
    )
    assert model.outputs == (TensorSpec(name="y", datatype=Datatype.FP32, shape=(-1, 1)),)


def test_an_input_with_a_default_is_optional(load: Load) -> None:
    """Left out it counts as its default, given it is used."""
    model = load(models.optional_bias())
    x = np.ones((1, 16), np.float32)
    bias = np.full(4, 10, np.float32)

    without, given = model.run([x, None])[0], model.run([x, bias])[0]

    assert [spec.optional for spec in model.inputs] == [False, True]
    assert (given - without).tolist() == [[10, 10, 10, 10]]


def test_only_declared_tensors_are_shown(load: Load) -> None:
    """Optional inputs and outputs that the configuration leaves out are not served."""
    x = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 16))
    second = TensorSpec(name="OUTPUT1", datatype=Datatype.INT32, shape=(-1, 16))

    with_bias = load(models.optional_bias(), inputs=(x,))
    simple = load(models.simple(), outputs=(second,))
    ones = np.ones((1, 16), np.int32)

    assert [spec.name for spec in with_bias.inputs] == ["x"]
    assert [array.tolist() for array in simple.run([ones, ones])] == [[[0] * 16]]


def test_external_data_is_found_beside_the_model(load: Load, tmp_path: Path) -> None:
    """Weights in a second file load; the file lies beside the model."""
    model, weights = models.external("model.onnx.data")
    (tmp_path / "model.onnx.data").write_bytes(weights)

    (answer,) = load(model).run([np.ones((1, 16), np.float32)])

    assert answer.tolist() == [[-0.5, 0.0, 0.5, -0.75]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (models.bad_opset(), "opset 999 of ai.onnx, and ONNX Runtime .* knows up to"),
        (models.bad_ir(), "IR version is 99"),
        (models.bad_operator(), "operator com.example:Frobnicate is not part"),
        (models.truncated(), "cut off"),
        (models.garbage(), "no ONNX model"),
        (b"", "empty"),
        (models.external("missing.data")[0], "data file missing.data is missing"),
        (models.external("../secret.bin")[0], "outside of its own folder"),
        (models.sequence_output(), r"output 'parts' is seq\(tensor\(float\)\)"),
    ],
    ids=[
        "opset", "ir", "operator", "truncated", "garbage", "empty", "external", "outside",
        "sequence",
    ],
)  # fmt: skip
def test_broken_files_are_refused(load: Load, content: bytes, words: str) -> None:
    """A file that cannot work is refused at load with cause and remedy, and without paths."""
    with pytest.raises(ModelLoadError, match=words) as refused:
        load(content)

    assert "/tmp" not in refused.value.message  # noqa: S108  where pytest puts the file


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is named, without its folder."""
    request = LoadRequest(file=tmp_path / "gone.onnx", device=CPU, threads=1)

    with pytest.raises(ModelLoadError, match=r"'gone\.onnx' does not exist"):
        OnnxRuntime().load(request)


def test_values_are_the_callers_fault(load: Load) -> None:
    """An index out of range is the request's mistake, and the model runs on afterwards."""
    model = load(models.fail_on_demand())
    x = np.array([[1, 2, 3, 4]], np.float32)

    with pytest.raises(InvalidArgumentError, match="Out of range value in index tensor"):
        model.run([x, np.array([[9]])])

    assert model.run([x, np.array([[2]])])[0].tolist() == [[3]]


@pytest.mark.parametrize(
    ("content", "feeds", "words"),
    [
        (models.simple_string(), [np.full((1, 16), "x", object)], "stoll"),
        (models.identity(Datatype.BYTES), [np.array([["\ud800"]], object)], "UTF-8"),
        (
            models.two_in_variable(),
            [np.ones((1, 3), np.float32), np.ones((1, 4), np.float32)],
            "3 by 4",
        ),
        (models.tiny(), [np.ones((1, 8), np.float32)], "Got: 8 Expected: 16"),
    ],
    ids=["no_number", "lone_surrogate", "shapes_differ", "columns"],
)
def test_requests_that_cannot_run(
    load: Load, content: bytes, feeds: list[Array], words: str
) -> None:
    """Values and shapes that the engine refuses are invalid arguments."""
    with pytest.raises(InvalidArgumentError, match=words):
        load(content).run(feeds)


def test_a_closed_model_refuses(load: Load) -> None:
    """After close a run is an engine error, not a crash."""
    model = load(models.tiny())
    model.close()

    with pytest.raises(EngineError, match="closed"):
        model.run([np.ones((1, 16), np.float32)])


def test_cuda_is_never_replaced_in_silence(tmp_path: Path) -> None:
    """Where CUDA cannot be had, a model that asks for it is refused with what is missing."""
    device = Device("cuda", 63)  # no machine has as many
    file = tmp_path / "model.onnx"
    file.write_bytes(models.tiny())

    with pytest.raises(ModelLoadError, match=r"cuda:63|device"):
        open_session(LoadRequest(file=file, device=device, threads=1))


def test_what_the_session_got_decides() -> None:
    """The first provider of the session is compared with the device that was asked for."""
    cuda, cpu = "CUDAExecutionProvider", "CPUExecutionProvider"

    assert provider_problem(CPU, [cpu]) is None
    assert provider_problem(Device("cuda", 1), [cuda, cpu]) is None
    problem = provider_problem(Device("cuda", 1), [cpu])
    assert problem is not None
    assert "asks for cuda:1" in problem


def test_providers_are_asked_for_strictly() -> None:
    """The CPU alone, or one CUDA device with the CPU for what it lacks."""
    file = Path("model.onnx")
    assert providers_for(LoadRequest(file=file, device=CPU, threads=1)) == ["CPUExecutionProvider"]
    request = LoadRequest(file=file, device=Device("cuda", 1), threads=1)
    (name, options), last = providers_for(request)
    assert (name, options["device_id"], last) == (
        "CUDAExecutionProvider", "1", "CPUExecutionProvider",
    )  # fmt: skip


def test_the_missing_library_is_named() -> None:
    """The dynamic loader says which library it lacks."""
    assert missing_library("libbascule-none.so.1") == "libbascule-none.so.1"
    assert missing_library("libc.so.6") is None


@pytest.fixture
def bound(tmp_path: Path) -> Callable[[bytes], BoundModel]:
    """Return a function that loads a model as for CUDA, with the CPU in the device's place."""

    def load_bound(content: bytes) -> BoundModel:
        file = tmp_path / "model.onnx"
        file.write_bytes(content)
        plain = OnnxRuntime().load(LoadRequest(file=file, device=CPU, threads=1))
        session = open_session(LoadRequest(file=file, device=CPU, threads=1))
        return BoundModel(session, plain.inputs, plain.outputs, CPU)

    return load_bound


@pytest.mark.parametrize("datatype", NUMERIC)
def test_bound_buffers_survive_bit_for_bit(
    bound: Callable[[bytes], BoundModel], datatype: Datatype
) -> None:
    """The path of CUDA gives the same bits as the plain one, run after run."""
    model = bound(models.identity(datatype))
    sent = every_pattern(datatype)

    answers = [model.run([array])[0] for array in (sent, sent[::-1].copy(), sent)]

    assert answers[0].tobytes() == sent.tobytes() == answers[2].tobytes()
    assert answers[1].tobytes() == sent[::-1].tobytes()


def test_empty_tensors_go_around_the_buffers(bound: Callable[[bytes], BoundModel]) -> None:
    """Empty tensors have no device buffer and work all the same."""
    numbers = bound(models.identity(Datatype.FP32))

    assert numbers.run([np.empty((0, 3), np.float32)])[0].shape == (0, 3)
    assert numbers.buffered_shapes == {"INPUT0": ()}


def test_buffers_are_kept_for_the_latest_shapes(bound: Callable[[bytes], BoundModel]) -> None:
    """Each input keeps a bounded number of buffers; what was used last stays."""
    model = bound(models.tiny())
    for rows in range(1, BUFFERED_SHAPES + 3):
        model.run([np.ones((rows, 16), np.float32)])
        model.run([np.ones((1, 16), np.float32)])

    kept = model.buffered_shapes["x"]

    assert len(kept) == BUFFERED_SHAPES
    assert kept[-1] == (1, 16)
    assert (2, 16) not in kept


def test_bound_optional_inputs_fall_back_to_their_default(
    bound: Callable[[bytes], BoundModel],
) -> None:
    """An optional input of the last run does not linger in the binding."""
    model = bound(models.optional_bias())
    x = np.ones((1, 16), np.float32)

    given = model.run([x, np.full(4, 10, np.float32)])[0]
    without = model.run([x, None])[0]

    assert (given - without).tolist() == [[10, 10, 10, 10]]


def test_bound_results_do_not_change_later(bound: Callable[[bytes], BoundModel]) -> None:
    """A result belongs to its caller: the next run does not write into it."""
    model = bound(models.identity(Datatype.FP32))

    first = model.run([np.zeros((2, 2), np.float32)])[0]
    model.run([np.ones((2, 2), np.float32)])

    assert not first.any()


def test_bound_failures_and_close(bound: Callable[[bytes], BoundModel]) -> None:
    """Failures are mapped as on the plain path, and a closed model refuses."""
    model = bound(models.fail_on_demand())
    x = np.ones((1, 4), np.float32)

    with pytest.raises(InvalidArgumentError):
        model.run([x, np.array([[9]])])
    model.close()
    with pytest.raises(EngineError, match="closed"):
        model.run([x, np.array([[0]])])


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (models.tiny(), 64),
        (models.simple_string(), 64),
        (models.identity(Datatype.BF16), 64),
        (models.two_in_variable(), 64),
        (models.column_mean(), 0),
        (models.tiny(4), 0),
        (models.scalar(), 0),
        (models.optional_bias(), 0),
    ],
    ids=["tiny", "text", "bf16", "variable", "mean", "fixed", "scalar", "optional"],
)
def test_the_batch_dimension_is_found_by_running(load: Load, content: bytes, rows: int) -> None:
    """Without a configuration, calls are joined exactly where rows do not touch each other."""
    assert settle_signature(load(content), Configured()).max_batch_rows == rows


def test_warm_up_runs_a_real_model(load: Load) -> None:
    """A loaded model is timed with made-up inputs."""
    model = load(models.slow(steps=10))
    looks = iter(range(1000))

    assert warm_up(model, model.inputs, now_s=lambda: next(looks) * 1e-3).run_s is not None


def test_the_engine_still_has_the_short_way() -> None:
    """The fast path uses the session's inner `run`; an upgrade that removes it must be noticed."""
    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(
        models.tiny(), options, providers=["CPUExecutionProvider"]
    )

    assert callable(session._sess.run)  # noqa: SLF001  the very thing that is pinned here


def test_text_beside_bf16_is_refused(load: Load) -> None:
    """The engine's Python API cannot carry both; that is said at load."""
    with pytest.raises(ModelLoadError, match="both BYTES and BF16"):
        load(models.text_and_bf16())
