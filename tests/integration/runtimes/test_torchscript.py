"""TorchScript, really run on the CPU."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from runtimes.contract import LoadedModel, LoadRequest, Noted, TensorSpec
from runtimes.datatypes import DTYPES, Datatype
from runtimes.devices import Device
from runtimes.errors import EngineError, InvalidArgumentError, ModelLoadError
from runtimes.torch_tensors import COPY_BYTES
from runtimes.torchscript import TorchScriptRuntime
from serving.registry.model_config.parsing import parse_config
from tests.fakes import torch_models
from tests.fakes.models import torchscript

Load = Callable[..., LoadedModel]
NUMERIC = [datatype for datatype in Datatype if datatype is not Datatype.BYTES]


def spec(name: str, *shape: int, datatype: Datatype = Datatype.FP32) -> TensorSpec:
    """Make a tensor spec."""
    return TensorSpec(name=name, datatype=datatype, shape=shape)


X = (spec("x", -1, -1),)
Y = (spec("OUTPUT__0", -1, -1),)


def load_module(
    load: Load,
    module: torch.nn.Module,
    inputs: tuple[TensorSpec, ...] = X,
    outputs: tuple[TensorSpec, ...] = Y,
) -> LoadedModel:
    """Script, write and load a module."""
    return load(torchscript(module.eval()), inputs=inputs, outputs=outputs, name="model.pt")


def test_tiny_gives_the_known_answer(load: Load) -> None:
    """The scripted model answers as its ONNX twin, from read-only memory and without a warning."""
    model = load(
        torch_models.tiny_ts(),
        inputs=(spec("INPUT__0", -1, 16),),
        outputs=(spec("OUTPUT__0", -1, 4),),
        name="model.pt",
    )
    body = np.ones(16, np.float32).tobytes()

    (answer,) = model.run([np.frombuffer(body, np.float32).reshape(1, 16)])

    assert answer.tolist() == [[-0.5, 0.5, 1.5, 0.75]]
    assert [one.name for one in (*model.inputs, *model.outputs)] == ["INPUT__0", "OUTPUT__0"]


def test_outputs_that_are_not_listed_are_found_by_running(load: Load) -> None:
    """Datatype and rank as the module returns them; sizes that follow the inputs' are free."""
    inputs = (spec("x", -1, 3), spec("factor", 1, datatype=Datatype.INT64))
    scaled = load_module(load, torch_models.Scaled(), inputs, ())
    tiny = load(torch_models.tiny_ts(), inputs=(spec("x", -1, 16),), name="model.pt")

    assert scaled.outputs == (spec("OUTPUT__0", -1, 3), spec("OUTPUT__1", -1, 3))
    assert tiny.outputs == (spec("OUTPUT__0", -1, 4),)
    assert tiny.run([np.zeros((1, 16), np.float32)])[0].tolist() == [[0.0, 0.5, 1.0, 1.5]]


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (torch_models.Listed(), "it returned 2 tensors, and then 3"),
        (torch_models.Counting(), "a run would change the state that it keeps"),
    ],
    ids=["list", "state"],
)
def test_outputs_that_no_run_can_show_are_asked_for(
    load: Load, module: torch.nn.Module, words: str
) -> None:
    """The refusal says why, and has the text that is missing."""
    with pytest.raises(ModelLoadError, match=words) as caught:
        load_module(load, module, X, ())

    last = caught.value.message.splitlines()[-1]
    assert last == 'output { name: "OUTPUT__0" data_type: TYPE_FP32 dims: [ -1, -1 ] }'


def test_a_module_without_a_configuration_is_refused_with_its_text(load: Load) -> None:
    """What is to be pasted is accepted as it is, where the datatypes fit."""
    with pytest.raises(ModelLoadError, match="outputs that are left out are found") as caught:
        load_module(load, torch_models.Scaled(), (), ())
    _, *lines = caught.value.message.splitlines()
    config = parse_config("\n".join(lines), model="m").policy

    model = load_module(load, torch_models.Scaled(), config.inputs, config.outputs)

    assert [one.name for one in (*model.inputs, *model.outputs)] == [
        "x",
        "factor",
        "OUTPUT__0",
        "OUTPUT__1",
    ]


@pytest.mark.parametrize("datatype", NUMERIC)
@pytest.mark.parametrize("shape", [(2, 3), (0, 3), (), (256, 257)])
def test_datatypes_survive_bit_for_bit(
    load: Load, datatype: Datatype, shape: tuple[int, ...]
) -> None:
    """Every datatype goes in and out with the same bits: small, empty, scalar and large."""
    dtype = DTYPES[datatype]
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.random.default_rng(3).integers(0, 2, size, np.uint8).tobytes()
    sent = np.frombuffer(raw, dtype).reshape(shape)
    free = [-1] * len(shape)
    model = load_module(
        load,
        torch_models.Identity(),
        (spec("x", *free, datatype=datatype),),
        (spec("OUTPUT__0", *free, datatype=datatype),),
    )

    (answer,) = model.run([sent])

    assert (answer.dtype, answer.shape) == (dtype, shape)
    assert answer.tobytes() == raw


def test_results_are_contiguous(load: Load) -> None:
    """A transposed view comes back as a C-contiguous array."""
    (answer,) = load_module(load, torch_models.Transposed()).run(
        [np.arange(6, dtype=np.float32).reshape(2, 3)]
    )

    assert answer.flags.c_contiguous
    assert answer.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_single_values_and_tuples(load: Load) -> None:
    """An int argument takes one element, a default may be left out, a tuple gives two outputs."""
    inputs = (spec("factor", 1, datatype=Datatype.INT64), spec("x", -1))
    outputs = (spec("OUTPUT__1", -1), spec("OUTPUT__0", -1))
    model = load_module(load, torch_models.Scaled(), inputs, outputs)

    double, product = model.run([np.ones(2, np.float32), np.array([3])])

    assert [one.name for one in model.inputs] == ["x", "factor"]
    assert (product.tolist(), double.tolist()) == ([3, 3], [0, 0])
    with pytest.raises(InvalidArgumentError, match="exactly one value, got 2"):
        model.run([np.ones(2, np.float32), np.array([3, 4])])


def test_lists_are_counted_at_run_time(load: Load) -> None:
    """A list of results works while it is long enough, and is explained when it is not."""
    outputs = (spec("OUTPUT__0", -1), spec("OUTPUT__1", -1))
    model = load_module(load, torch_models.Listed(), X, outputs)

    assert len(model.run([np.ones((2, 3), np.float32)])) == 2
    with pytest.raises(EngineError, match="no tensor for output 'OUTPUT__1'"):
        model.run([np.ones((1, 3), np.float32)])


def test_state_is_noticed(load: Load) -> None:
    """A module that changes its attributes is noted, and its results do not change later."""
    model = load_module(load, torch_models.Counting(), (spec("x", -1),), (spec("total", -1),))

    first = model.run([np.ones(1, np.float32)])[0]
    second = model.run([np.ones(1, np.float32)])[0]

    assert isinstance(model, Noted)
    assert "(total)" in model.notes[0]
    assert (first.tolist(), second.tolist()) == ([1], [2])


@pytest.mark.parametrize(
    "module", [torch_models.Sliced(), torch_models.Outward(), torch_models.Chunked()]
)
def test_state_is_noticed_whichever_way_it_is_written(load: Load, module: torch.nn.Module) -> None:
    """A buffer that is written into by a view of it, or as the result of an operator, is state."""
    model = load_module(load, module)

    first = model.run([np.ones((2, 2), np.float32)])[0]
    model.run([np.full((2, 2), 2, np.float32)])

    assert isinstance(model, Noted)
    assert "(kept)" in model.notes[0]
    assert first[0].tolist() == [1, 1]


def test_a_tensor_made_of_a_parameter_is_no_state(load: Load) -> None:
    """What is written into is the module's own only as long as its memory is."""
    model = load_module(load, torch_models.Scratch())

    assert isinstance(model, Noted)
    assert model.notes == ()
    assert [model.run([np.ones((2, 2), np.float32)])[0][0, 0] for _ in range(2)] == [2, 2]


def test_batch_normalisation_is_no_state(load: Load) -> None:
    """Counters that only training changes are not reported."""
    model = load_module(load, torch_models.Normalised())

    assert isinstance(model, Noted)
    assert model.notes == ()


@pytest.mark.parametrize("elements", [4, COPY_BYTES])
def test_inputs_are_never_written_to(load: Load, elements: int) -> None:
    """A module that works in place gets copies: the request may be run again in parts."""
    model = load_module(load, torch_models.Writing(), (spec("x", -1),), (spec("y", -1),))
    read_only = np.frombuffer(np.ones(elements, np.float32).tobytes(), np.float32)
    writable = np.ones(elements, np.float32)

    answers = [model.run([array])[0] for array in (read_only, writable, writable)]

    assert {float(answer[0]) for answer in answers} == {2.0}
    assert read_only[0] == writable[0] == 1.0


def test_what_the_model_refuses_is_the_callers_fault(load: Load) -> None:
    """The model's own exception, and a shape that it cannot take, are the request's faults."""
    refusing = load_module(load, torch_models.Refusing())
    tiny = load_module(load, torch_models.Tiny())

    with pytest.raises(InvalidArgumentError, match=r"inputs: negative amounts are not allowed$"):
        refusing.run([-np.ones((1, 2), np.float32)])
    with pytest.raises(InvalidArgumentError, match=r"cannot be multiplied \(1x8 and 16x4\)"):
        tiny.run([np.ones((1, 8), np.float32)])


def test_a_wrong_output_datatype_is_explained(load: Load) -> None:
    """A configured datatype that the model does not return is found by a run."""
    model = load_module(
        load, torch_models.Tiny(), X, (spec("OUTPUT__0", -1, 4, datatype=Datatype.FP64),)
    )

    with pytest.raises(EngineError, match="is FP32 in the model, FP64 in the configuration"):
        model.run([np.ones((1, 16), np.float32)])


def test_a_closed_module_refuses(load: Load) -> None:
    """After close a run is an engine error, not a crash."""
    model = load_module(load, torch_models.Tiny())
    model.close()

    with pytest.raises(EngineError, match="closed"):
        model.run([np.ones((1, 16), np.float32)])


def checkpoint(folder: Path) -> bytes:
    """Return a torch archive that is no module."""
    file = folder / "checkpoint"
    torch.save({"weight": torch.zeros(1)}, file)
    return file.read_bytes()


def plain_zip(folder: Path) -> bytes:
    """Return a zip archive of something else."""
    file = folder / "archive"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    return file.read_bytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda _: torch_models.tiny_ts()[:900], "cut off"),
        (lambda _: b"", "empty"),
        (lambda _: b"no archive at all", "no TorchScript archive"),
        (checkpoint, "a checkpoint or a torch.export file.*script"),
        (plain_zip, "cannot be loaded"),
    ],
    ids=["truncated", "empty", "garbage", "checkpoint", "zip"],
)
def test_broken_files_are_refused(
    load: Load, tmp_path: Path, content: Callable[[Path], bytes], words: str
) -> None:
    """A file that is no module is refused at load with cause and remedy."""
    with pytest.raises(ModelLoadError, match=words):
        load(content(tmp_path), inputs=X, outputs=Y, name="model.pt")


@pytest.mark.parametrize(
    ("module", "inputs", "outputs", "words"),
    [
        (torch_models.Tiny(), (), Y, 'input { name: "x" data_type: TYPE_FP32 dims'),
        (torch_models.Tiny(), X, (), "OUTPUT__0"),
        (torch_models.Tiny(), X, (*Y, spec("OUTPUT__1", -1)), "forward returns 1"),
        (torch_models.Named(), X, Y, r"returns Dict\[str, Tensor\]"),
        (torch_models.Tiny(), (spec("x", -1, datatype=Datatype.BYTES),), Y, "no text tensors"),
    ],
    ids=["no_inputs", "no_outputs", "too_many", "dictionary", "text"],
)
def test_configurations_that_do_not_fit(
    load: Load,
    module: torch.nn.Module,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    words: str,
) -> None:
    """What forward cannot take or give is refused at load."""
    with pytest.raises(ModelLoadError, match=words):
        load_module(load, module, inputs, outputs)


def test_cuda_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """A device that torch does not see is refused with a remedy."""
    request = LoadRequest(file=tmp_path / "m.pt", device=Device("cuda", 63), threads=1)

    with pytest.raises(ModelLoadError, match=r"cuda:63.*serve the model with device cpu"):
        TorchScriptRuntime().load(request)
