"""ONNX Runtime on a CUDA device: right answers, there and nowhere else, and nothing left behind."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtimes.contract import Array, LoadedModel, LoadRequest, Noted, Placed
from runtimes.datatypes import DTYPES, Datatype
from runtimes.devices import CPU, Device
from runtimes.errors import EngineError, ModelLoadError
from runtimes.facts import GpuFacts
from runtimes.gpu_memory import GpuMeter
from runtimes.gpu_probe import SystemNvml, probe_gpus
from runtimes.onnx_runs import BoundModel
from runtimes.onnxrt import assigned_nodes, open_session
from tests.fakes import gpu_models, models

pytestmark = pytest.mark.gpu

Load = Callable[..., LoadedModel]
NUMERIC = [datatype for datatype in Datatype if datatype is not Datatype.BYTES]
SLACK_BYTES = 64 << 20
"""What a driver may keep for itself between a load and a close."""
TF32_DIGITS = 2.0**-11
in_one_file = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def used_bytes() -> int:
    """Memory in use on the first GPU, whoever holds it."""
    first = probe_gpus(SystemNvml()).gpus[0]
    return first.memory_bytes - first.free_memory_bytes


def product_error(model: LoadedModel) -> float:
    """How far `product` is from the exact answer, relative to the size of its terms."""
    x = gpu_models.random_floats(256, 512, seed=5)
    exact = x.astype(np.float64) @ gpu_models.square().astype(np.float64)
    (answer,) = model.run([x])
    return float(np.abs(answer - exact).max() / np.sqrt(512))


@in_one_file
@given(rows=st.integers(1, 200), seed=st.integers(0, 1 << 30))
def test_a_perceptron_answers_as_on_the_cpu(load: Load, rows: int, seed: int) -> None:
    """Random rows give the CPU's answers but for rounding."""
    content = gpu_models.perceptron()
    x = gpu_models.random_floats(rows, 64, seed=seed)

    (here,), (there,) = load(content).run([x]), load(content, on=CPU).run([x])

    np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-5)


@in_one_file
@given(rows=st.integers(1, 8), size=st.integers(3, 64), seed=st.integers(0, 1 << 30))
def test_a_convolution_answers_as_on_the_cpu(load: Load, rows: int, size: int, seed: int) -> None:
    """Random pictures of any size give the CPU's answers but for rounding."""
    content = gpu_models.convolution()
    x = gpu_models.random_floats(rows, 3, size, size, seed=seed)

    (here,), (there,) = load(content).run([x]), load(content, on=CPU).run([x])

    np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("datatype", NUMERIC)
def test_every_datatype_goes_and_comes_back(load: Load, datatype: Datatype) -> None:
    """Tensors of every datatype survive the way to the device and back bit for bit."""
    dtype = DTYPES[datatype]
    bits = np.arange(24 * dtype.itemsize, dtype=np.uint8)
    sent: Array = (bits % 2 if datatype is Datatype.BOOL else bits).view(dtype).reshape(4, 6)

    (back,) = load(models.identity(datatype)).run([sent])

    assert back.dtype == dtype
    assert back.tobytes() == sent.tobytes()


def test_half_precision_is_computed(load: Load) -> None:
    """An FP16 product is the exact one, rounded."""
    x = gpu_models.random_floats(16, 64, seed=6).astype(np.float16)
    w = gpu_models.random_floats(64, 8, seed=7).astype(np.float16)

    (answer,) = load(gpu_models.half_product()).run([x, w])

    exact = x.astype(np.float64) @ w.astype(np.float64)
    np.testing.assert_allclose(answer.astype(np.float64), exact, rtol=1e-2, atol=5e-2)


def test_without_tf32_products_are_those_of_fp32(load: Load) -> None:
    """By default nothing is rounded to TF32's ten bits on the way."""
    assert product_error(load(gpu_models.product())) < TF32_DIGITS / 32


def test_tf32_is_used_where_it_is_allowed(load: Load, gpu: GpuFacts) -> None:
    """A profile with TF32 gets its speed, and its rounding."""
    if gpu.compute_capability < (8, 0):
        pytest.skip(f"{gpu.name} has no TF32")

    exact = product_error(load(gpu_models.product()))
    rounded = product_error(load(gpu_models.product(), precision="tf32"))

    assert exact * 8 < rounded < 1e-2


def test_every_node_runs_on_the_device(tmp_path: Path, device: Device) -> None:
    """The session has the CUDA provider first, and all of an ordinary model's nodes are its."""
    file = tmp_path / "model.onnx"
    file.write_bytes(gpu_models.perceptron())

    session = open_session(LoadRequest(file=file, device=device, threads=1))

    assert session.get_providers()[0] == "CUDAExecutionProvider"
    nodes = assigned_nodes(session)
    assert nodes is not None
    assert {node.provider for node in nodes} == {"CUDAExecutionProvider"}


def test_shapes_may_be_reckoned_on_the_cpu(load: Load) -> None:
    """A model that computes a shape loads where no node may run on the CPU, and answers."""
    model = load(gpu_models.reshaped(), allow_cpu_nodes=False)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)

    assert model.run([x])[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert isinstance(model, Noted)
    assert model.notes == ()


def test_an_operator_without_a_kernel_is_told_or_refused(load: Load) -> None:
    """It runs on the CPU with a warning where that is allowed, and is refused by name where not."""
    model = load(gpu_models.determinant())
    x = np.stack([np.eye(4, dtype=np.float32) * 2] * 3)

    assert model.run([x])[0].tolist() == [256.0] * 3
    assert isinstance(model, Placed)
    (finding,) = model.findings
    assert finding.code == "BP-O06"
    assert "1 Det" in finding.message
    with pytest.raises(ModelLoadError, match=r"1 Det.*allow_cpu_nodes"):
        load(gpu_models.determinant(), allow_cpu_nodes=False)


def test_a_whole_model_is_not_moved_to_the_cpu(load: Load) -> None:
    """A model none of whose operators has a CUDA kernel is refused where CUDA was asked for."""
    with pytest.raises(ModelLoadError, match="none of the model's 1 nodes"):
        load(gpu_models.lone_det())


def test_a_model_that_left_the_device_open_runs_on_the_cpu(load: Load) -> None:
    """It answers from there, says where it is, and warns of it."""
    model = load(gpu_models.lone_det(), may_use_cpu=True)
    x = np.stack([np.eye(4, dtype=np.float32) * 2] * 3)

    assert model.run([x])[0].tolist() == [16.0] * 3
    assert isinstance(model, Placed)
    assert (str(model.device), [one.code for one in model.findings]) == ("cpu", ["BP-E01"])


def test_an_open_device_is_used_by_what_can_use_it(load: Load, device: Device) -> None:
    """A model with CUDA kernels stays on the GPU."""
    model = load(gpu_models.perceptron(), may_use_cpu=True)

    assert isinstance(model, Placed)
    assert (model.device, model.findings) == (device, ())


def test_a_device_that_is_not_there_is_refused(load: Load) -> None:
    """The index of a device counts: a GPU too many is none."""
    with pytest.raises(ModelLoadError):
        load(gpu_models.perceptron(), on=Device("cuda", 63))


def test_buffers_are_used_again(load: Load) -> None:
    """A shape that came before goes into the buffer on the device that it had."""
    model = load(gpu_models.perceptron())
    assert isinstance(model, BoundModel)

    def address() -> int:
        model.run([gpu_models.random_floats(4, 64)])
        return int(model._buffers["x"][(4, 64)].data_ptr())  # noqa: SLF001  the buffer itself

    first = address()
    model.run([gpu_models.random_floats(8, 64)])

    assert address() == first


def test_results_stay_as_they_were(load: Load) -> None:
    """A result belongs to its caller: later runs do not write into it."""
    model = load(models.identity(Datatype.FP32))

    first = model.run([np.zeros((2, 2), np.float32)])[0]
    model.run([np.ones((2, 2), np.float32)])

    assert not first.any()


def test_threads_take_turns(load: Load) -> None:
    """Two threads that run a model in turn get the answers of their own rows."""
    model = load(gpu_models.perceptron())
    sent = [gpu_models.random_floats(3, 64, seed=seed) for seed in range(8)]
    expected = [model.run([x])[0] for x in sent]

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        for turn, x in enumerate(sent):
            answer = (one, other)[turn % 2].submit(model.run, [x]).result()[0]
            np.testing.assert_array_equal(answer, expected[turn])


def test_memory_is_given_back(load: Load) -> None:
    """After close the device has the memory again that the model took."""
    load(gpu_models.perceptron()).run([gpu_models.random_floats(1, 64)])  # the context stays
    before = used_bytes()
    model = load(gpu_models.heavy())
    model.run([np.ones((1, gpu_models.HEAVY_WIDTH), np.float32)])
    during = used_bytes()

    model.close()

    assert during - before >= gpu_models.HEAVY_BYTES
    assert used_bytes() - before < SLACK_BYTES


def test_an_arena_keeps_its_bound(load: Load) -> None:
    """A model that needs more memory than its profile allows is refused with the way out."""
    with pytest.raises(ModelLoadError, match="gpu_arena_bytes"):
        load(gpu_models.heavy(), gpu_arena_bytes=gpu_models.HEAVY_BYTES // 4)


def test_deterministic_runs_give_the_same_bits(load: Load) -> None:
    """A deterministic version answers bit for bit the same, and so does its next load."""
    x = gpu_models.random_floats(4, 3, 32, 32, seed=8)
    answers = {
        model.run([x])[0].tobytes()
        for model in [load(gpu_models.convolution(), deterministic=True) for _ in range(2)]
        for _ in range(5)
    }

    assert len(answers) == 1


def test_a_closed_model_refuses(load: Load) -> None:
    """After close a run is an engine error, not a crash."""
    model = load(gpu_models.perceptron())
    model.close()

    with pytest.raises(EngineError, match="closed"):
        model.run([gpu_models.random_floats(1, 64)])


def test_memory_that_a_model_takes_is_measured(load: Load, device: Device) -> None:
    """NVML shows what loading and running took, weights and context included."""
    meter = GpuMeter(SystemNvml(), device)
    model = load(gpu_models.perceptron())
    model.run([gpu_models.random_floats(8, 64, seed=1)])
    meter.look()

    assert meter.taken().size_bytes > 0
