"""TorchScript on a CUDA device: right answers, the settings asked for, and nothing left behind."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtimes.contract import Array, LoadedModel, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.devices import CPU, Device
from runtimes.errors import EngineError, ModelLoadError
from runtimes.facts import GpuFacts
from tests.fakes import gpu_models, torch_models
from tests.fakes.models import torchscript

pytestmark = pytest.mark.gpu

Load = Callable[..., LoadedModel]
NUMERIC = [datatype for datatype in Datatype if datatype is not Datatype.BYTES]
TF32_DIGITS = 2.0**-11
in_one_file = settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
DETERMINISTIC = """
import hashlib, sys
from pathlib import Path
import numpy as np
from runtimes.contract import LoadRequest, TensorSpec
from runtimes.datatypes import Datatype
from runtimes.devices import Device
from runtimes.torchscript import TorchScriptRuntime
spec = TensorSpec(name="INPUT__0", datatype=Datatype.FP32, shape=(-1, 512))
model = TorchScriptRuntime().load(LoadRequest(
    file=Path(sys.argv[1]), device=Device("cuda", 0), threads=2, deterministic=True,
    declared_inputs=(spec,), declared_outputs=(TensorSpec(
        name="OUTPUT__0", datatype=Datatype.FP32, shape=(-1, 512)),)))
x = np.random.default_rng(1).standard_normal((64, 512), dtype=np.float32)
print(len({model.run([x])[0].tobytes() for _ in range(5)}))
"""


@pytest.fixture(autouse=True)
def settings_of_each_test() -> Iterator[None]:
    """Put torch's settings, which are the process's, back as torch begins with them."""
    backends: Any = torch.backends  # has no types here
    places = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    for place in places:
        place.fp32_precision = "tf32"
    yield
    for place in places:
        place.fp32_precision = "tf32"


def spec(name: str, *shape: int, datatype: Datatype = Datatype.FP32) -> TensorSpec:
    """Make a tensor spec."""
    return TensorSpec(name=name, datatype=datatype, shape=shape)


X, Y = (spec("INPUT__0", -1, -1),), (spec("OUTPUT__0", -1, -1),)


def loaded(load: Load, module: torch.nn.Module, **changes: object) -> LoadedModel:
    """Script, write and load a module."""
    told: dict[str, object] = {"inputs": X, "outputs": Y, "name": "model.pt"} | changes
    return load(torchscript(module.eval()), **told)


def linear() -> torch.nn.Module:
    """`product` of the ONNX models."""
    module = torch.nn.Linear(512, 512, bias=False)
    module.weight = torch.nn.Parameter(
        torch.from_numpy(np.ascontiguousarray(gpu_models.square().T)), requires_grad=False
    )
    return module


def product_error(model: LoadedModel) -> float:
    """How far `linear` is from the exact answer, relative to the size of its terms."""
    x = gpu_models.random_floats(256, 512, seed=5)
    exact = x.astype(np.float64) @ gpu_models.square().astype(np.float64)
    (answer,) = model.run([x])
    return float(np.abs(answer - exact).max() / np.sqrt(512))


@in_one_file
@given(rows=st.integers(1, 200), seed=st.integers(0, 1 << 30))
def test_a_product_answers_as_on_the_cpu(load: Load, rows: int, seed: int) -> None:
    """Random rows give the CPU's answers but for rounding."""
    x = gpu_models.random_floats(rows, 512, seed=seed)

    (here,) = loaded(load, linear()).run([x])
    (there,) = loaded(load, linear(), on=CPU).run([x])

    np.testing.assert_allclose(here, there, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("datatype", NUMERIC)
def test_every_datatype_goes_and_comes_back(load: Load, datatype: Datatype) -> None:
    """Tensors of every datatype survive the way to the device and back bit for bit."""
    dtype = DTYPES[datatype]
    bits = np.arange(24 * dtype.itemsize, dtype=np.uint8)
    sent: Array = (bits % 2 if datatype is Datatype.BOOL else bits).view(dtype).reshape(4, 6)
    model = loaded(
        load,
        torch_models.Identity(),
        inputs=(spec("INPUT__0", -1, -1, datatype=datatype),),
        outputs=(spec("OUTPUT__0", -1, -1, datatype=datatype),),
    )

    (back,) = model.run([sent])

    assert back.tobytes() == sent.tobytes()


@pytest.mark.parametrize("datatype", [Datatype.FP16, Datatype.BF16])
def test_half_precision_is_computed(load: Load, datatype: Datatype) -> None:
    """A product of FP16 or BF16 tensors is the exact one, rounded."""
    half = torch.float16 if datatype is Datatype.FP16 else torch.bfloat16
    model = loaded(
        load,
        linear().to(half),
        inputs=(spec("INPUT__0", -1, 512, datatype=datatype),),
        outputs=(spec("OUTPUT__0", -1, 512, datatype=datatype),),
    )
    x = gpu_models.random_floats(16, 512, seed=6).astype(DTYPES[datatype])

    (answer,) = model.run([x])

    weight = gpu_models.square().astype(DTYPES[datatype]).astype(np.float64)
    exact = x.astype(np.float64) @ weight
    np.testing.assert_allclose(answer.astype(np.float64), exact, rtol=2e-2, atol=0.5)


def test_without_tf32_products_are_those_of_fp32(load: Load) -> None:
    """By default nothing is rounded to TF32's ten bits on the way."""
    assert product_error(loaded(load, linear())) < TF32_DIGITS / 32


def test_tf32_is_used_where_it_is_allowed(load: Load, gpu: GpuFacts) -> None:
    """A profile with TF32 gets its speed, and its rounding."""
    if gpu.compute_capability < (8, 0):
        pytest.skip(f"{gpu.name} has no TF32")

    rounded = product_error(loaded(load, linear(), precision="tf32"))
    exact = product_error(loaded(load, linear()))

    assert exact * 8 < rounded < 1e-2


def test_a_device_that_is_not_there_is_refused(load: Load) -> None:
    """The index of a device counts: a GPU too many is none."""
    with pytest.raises(ModelLoadError, match="cuda:63"):
        loaded(load, linear(), on=Device("cuda", 63))


def test_threads_take_turns(load: Load) -> None:
    """Two threads that run a model in turn get the answers of their own rows."""
    model = loaded(load, linear())
    sent = [gpu_models.random_floats(3, 512, seed=seed) for seed in range(8)]
    expected = [model.run([x])[0] for x in sent]

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        for turn, x in enumerate(sent):
            answer = (one, other)[turn % 2].submit(model.run, [x]).result()[0]
            np.testing.assert_array_equal(answer, expected[turn])


def test_memory_is_given_back(load: Load) -> None:
    """After close torch holds no more of the device than before, and others can have the rest."""
    loaded(load, linear()).run([gpu_models.random_floats(1, 512)])  # libraries keep workspaces
    before = torch.cuda.memory_reserved(0)
    width = gpu_models.HEAVY_WIDTH
    model = loaded(load, torch.nn.Linear(width, width, bias=False))
    model.run([np.ones((1, width), np.float32)])
    during = torch.cuda.memory_reserved(0)

    model.close()
    del model

    assert during - before >= gpu_models.HEAVY_BYTES
    assert torch.cuda.memory_reserved(0) - before < gpu_models.HEAVY_BYTES // 4


def test_an_arena_keeps_its_bound(load: Load) -> None:
    """A model that needs more memory than its profile allows is refused; the next one is not."""
    width = gpu_models.HEAVY_WIDTH
    with pytest.raises(ModelLoadError, match="gpu_arena_bytes"):
        loaded(
            load,
            torch.nn.Linear(width, width, bias=False),
            gpu_arena_bytes=gpu_models.HEAVY_BYTES // 4,
        )

    (answer,) = loaded(load, linear()).run([gpu_models.random_floats(1, 512)])
    assert answer.shape == (1, 512)


def test_deterministic_runs_give_the_same_bits(tmp_path: Any) -> None:  # noqa: ANN401  a path
    """A process that begins with a deterministic version answers bit for bit the same."""
    file = tmp_path / "model.pt"
    file.write_bytes(torchscript(linear().eval()))

    shown = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DETERMINISTIC, str(file)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert shown.stdout.strip() == "1", shown.stderr[-2000:]


def test_determinism_that_comes_too_late_is_refused(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once CUDA has started without it, a deterministic version is told to run elsewhere."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    loaded(load, linear()).run([gpu_models.random_floats(1, 512)])

    with pytest.raises(ModelLoadError, match="process of its own"):
        loaded(load, linear(), deterministic=True)


def test_a_closed_model_refuses(load: Load) -> None:
    """After close a run is an engine error, not a crash."""
    model = loaded(load, linear())
    model.close()

    with pytest.raises(EngineError, match="closed"):
        model.run([gpu_models.random_floats(1, 512)])
