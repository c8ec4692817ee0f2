"""Exported programs (`.pt2`), really run on the CPU."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.models.weights import tiny_bias, tiny_weight
from runtimes.contract import LoadedModel, LoadRequest, Noted, TensorSpec
from runtimes.datatypes import Datatype
from runtimes.devices import CPU
from runtimes.errors import EngineError, InvalidArgumentError, ModelLoadError
from runtimes.torch_export import TorchExportRuntime
from tests.fakes import exported_models, models
from tests.fakes.exported_models import Counter, Pairs, Scaled, Writer, exported
from tests.fakes.torch_models import Chunked, Outward, Sliced

Load = Callable[..., LoadedModel]


def spec(name: str, *shape: int, datatype: Datatype = Datatype.FP32) -> TensorSpec:
    """Make a tensor spec."""
    return TensorSpec(name=name, datatype=datatype, shape=shape)


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that writes an archive and loads it on the CPU."""

    def write_and_load(
        content: bytes,
        *,
        inputs: tuple[TensorSpec, ...] = (),
        outputs: tuple[TensorSpec, ...] = (),
        may_execute: bool = True,
    ) -> LoadedModel:
        file = tmp_path / "model.pt2"
        file.write_bytes(content)
        request = LoadRequest(
            file=file,
            device=CPU,
            threads=1,
            declared_inputs=inputs,
            declared_outputs=outputs,
            may_execute=may_execute,
        )
        return TorchExportRuntime().load(request)

    return write_and_load


@pytest.fixture(scope="module")
def tiny() -> bytes:
    """The tiny archive."""
    return exported_models.tiny()


def rows(count: int) -> np.ndarray:
    """Inputs of the tiny model."""
    return np.random.default_rng(7).random((count, 16), dtype=np.float32)


def test_tiny_gives_the_known_answer(load: Load, tiny: bytes) -> None:
    """The program tells its tensors itself, and answers from read-only memory."""
    model = load(tiny)
    x = rows(3)
    x.flags.writeable = False

    (y,) = model.run([x])

    assert model.inputs == (spec("x", -1, 16),)
    assert model.outputs == (spec("OUTPUT__0", -1, 4),)
    np.testing.assert_allclose(y, x @ tiny_weight() + tiny_bias(), rtol=1e-5)


@pytest.mark.parametrize("name", ["x", "INPUT__0"])
def test_the_configuration_names_tensors(load: Load, tiny: bytes, name: str) -> None:
    """A configured name counts; datatype and shape stay those of the program."""
    model = load(tiny, inputs=(spec(name, -1, -1),), outputs=(spec("y", -1, -1),))

    assert model.inputs == (spec(name, -1, 16),)
    assert model.outputs == (spec("y", -1, 4),)
    assert model.run([rows(2)])[0].shape == (2, 4)


def test_a_configured_name_must_fit(load: Load, tiny: bytes) -> None:
    """A name that fits no argument is refused, with those that there are."""
    with pytest.raises(ModelLoadError, match="'z' fits no argument of forward, which are: x"):
        load(tiny, inputs=(spec("z", -1, 16),))
    with pytest.raises(ModelLoadError, match="OUTPUT__3"):
        load(tiny, outputs=(spec("OUTPUT__3", -1, 4),))


def test_a_guard_blames_the_caller(load: Load, capfd: pytest.CaptureFixture[str]) -> None:
    """More rows than the export allows are the caller's mistake, and nothing goes to stderr."""
    model = load(exported_models.tiny(most_rows=8))

    with pytest.raises(InvalidArgumentError, match=r"Guard failed: x\.size\(\)\[0\] <= 8"):
        model.run([rows(9)])
    assert model.run([rows(8)])[0].shape == (8, 4)
    assert capfd.readouterr().err == ""


def pairs() -> bytes:
    """Nested arguments; torch would take the same tensor twice for one argument."""
    a, b, c = (torch.full((2, 2), value) for value in (1.0, 2.0, 3.0))
    return exported(Pairs(), (a, (b, c)), {"opt": None})


def test_nested_arguments_and_results_are_flat(load: Load) -> None:
    """Tuples and dictionaries become tensors with names; constants and None stay inside."""
    model = load(pairs())
    values = [np.full((2, 2), value, np.float32) for value in (2, 3, 5)]

    results = model.run(values)

    assert [item.name for item in model.inputs] == ["a", "pair_0", "pair_1"]
    assert [item.name for item in model.outputs] == ["sum", "product"]
    assert [float(item[0, 0]) for item in results] == [5.0, 10.0]


def test_outputs_can_be_chosen(load: Load) -> None:
    """A configuration may serve some of a dictionary's tensors, in its own order."""
    model = load(pairs(), outputs=(spec("product", 2, 2),))

    (product,) = model.run([np.full((2, 2), value, np.float32) for value in (2, 3, 5)])

    assert float(product[0, 0]) == 10.0


def test_state_between_calls_is_told(load: Load) -> None:
    """A program that writes into its buffers says so, and earlier answers stay as they were."""
    model = load(exported(Counter(), (torch.zeros(2, 1),)))
    first, second = (model.run([np.zeros((2, 1), np.float32)])[0] for _ in range(2))

    assert isinstance(model, Noted)
    assert "calls" in model.notes[0]
    assert (first[0, 0], second[0, 0]) == (1.0, 2.0)


@pytest.mark.parametrize("module", [Sliced(), Outward(), Chunked()])
def test_state_is_told_whichever_way_it_is_written(load: Load, module: torch.nn.Module) -> None:
    """A buffer that is written into by a view of it, or as the result of an operator, is state."""
    model = load(exported(module, (torch.zeros(2, 2),)))
    first = model.run([np.ones((2, 2), np.float32)])[0]
    model.run([np.full((2, 2), 2, np.float32)])

    assert isinstance(model, Noted)
    assert "kept" in model.notes[0]
    assert first[0].tolist() == [1, 1]


def test_the_callers_array_is_not_written_into(load: Load) -> None:
    """A program that changes its input changes a copy."""
    model = load(exported(Writer(), (torch.zeros(2, 1),)))
    x = np.ones((2, 1), np.float32)

    assert model.run([x])[0][0, 0] == 2.0
    assert x[0, 0] == 1.0


def test_numbers_cannot_be_fed(load: Load) -> None:
    """A free number among the arguments is refused with the remedy."""
    content = exported(
        Scaled(),
        (torch.zeros(2, 1), 3),
        dynamic_shapes={"x": None, "by": torch.export.Dim.DYNAMIC},
    )

    with pytest.raises(ModelLoadError, match=r"'by' .*only tensors"):
        load(content)


def test_a_hostile_archive_is_not_opened_without_permission(load: Load, tmp_path: Path) -> None:
    """Refused before torch reads it: what its pickle would have done has not happened."""
    sentinel = tmp_path / "sentinel"
    content = exported_models.hostile(sentinel)

    with pytest.raises(ModelLoadError, match=r"BP-S02 'model\.pt2'.*--sign"):
        load(content, may_execute=False)
    assert not sentinel.exists()
    # With the permission it does happen: the permission is all that stands in between.
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        load(content)
    assert sentinel.exists()


def other_schema(tiny: bytes) -> bytes:
    """The tiny archive as a torch of the future would write it."""
    model = json.loads(exported_models.member(tiny, "models/model.json"))
    model["schema_version"]["major"] = 99
    return exported_models.with_member(tiny, "models/model.json", json.dumps(model).encode())


def checkpoint() -> bytes:
    """Weights without a model."""
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(1)}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(lambda _: b"", "no torch.export archive|cannot be loaded", id="empty"),
        pytest.param(lambda raw: raw[: len(raw) // 2], "cut off", id="cut off"),
        pytest.param(lambda _: checkpoint(), "no torch.export archive", id="checkpoint"),
        pytest.param(
            lambda _: models.torchscript(torch.nn.Linear(1, 1)),
            "no torch.export archive",
            id="torchscript",
        ),
        pytest.param(
            lambda raw: exported_models.with_member(raw, "archive_format", b"pt3"),
            "archive_format",
            id="format",
        ),
        pytest.param(other_schema, "BP-T04 .*schema 99", id="schema"),
        pytest.param(
            lambda raw: exported_models.with_member(raw, "models/model.json", b"{"),
            "no JSON",
            id="model",
        ),
        pytest.param(
            lambda raw: exported_models.with_member(raw, "data/weights/weight_0", b"short"),
            "cannot be loaded",
            id="weights",
        ),
    ],
)
def test_what_is_no_archive_is_refused(
    load: Load, tiny: bytes, change: Callable[[bytes], bytes], says: str
) -> None:
    """A damaged file, another format or another schema: one sentence says which."""
    with pytest.raises(ModelLoadError, match=says):
        load(change(tiny))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is named."""
    request = LoadRequest(file=tmp_path / "gone.pt2", device=CPU, threads=1, may_execute=True)

    with pytest.raises(ModelLoadError, match=r"gone\.pt2' does not exist"):
        TorchExportRuntime().load(request)


def test_a_closed_model_does_not_run(load: Load, tiny: bytes) -> None:
    """After `close` a run is an error, not a crash."""
    model = load(tiny)
    model.close()

    with pytest.raises(EngineError, match="closed"):
        model.run([rows(1)])
