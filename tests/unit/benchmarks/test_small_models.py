"""The models that we make for tests and benchmarks give the answers that their tables promise."""

from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from benchmarks.models import many
from benchmarks.models.broken import broken_models
from benchmarks.models.layout import Config, ModelFolder, Tensor, write_model
from benchmarks.models.small import small_models, tiny_graph
from benchmarks.models.wheels import Wheel, WheelCache, digest

SMALL = {model.name: model for model in chain(small_models(), broken_models())}
REFUSED = ["bad_opset", "bad_ir", "bad_operator", "bad_truncated", "bad_garbage"]


def run(model: ModelFolder, version: int = 1, **feeds: np.ndarray[Any, Any]) -> list[Any]:
    """Run a model in ONNX Runtime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    payload = model.files[f"{version}/model.onnx"]
    session = ort.InferenceSession(payload, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def test_tiny_is_worked_out_by_hand() -> None:
    """The rows of ones give the column sums of W plus b."""
    (y,) = run(SMALL["tiny"], x=np.ones((2, 16), np.float32))

    assert y.tolist() == [[-0.5, 0.5, 1.5, 0.75]] * 2


def test_mid_rows_do_not_depend_on_their_batch() -> None:
    """A row gives the same answer alone as among seven others."""
    x = np.random.default_rng(1).random((8, 512), np.float32)

    (together,) = run(SMALL["mid"], x=x)
    (alone,) = run(SMALL["mid"], x=x[3:4])

    assert np.allclose(together[3], alone[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("version", [1, 2])
def test_times_tells_its_version(version: int) -> None:
    """Version n multiplies by n, so that an answer shows which version gave it."""
    (y,) = run(SMALL["times"], version, x=np.full((1, 1), 21, np.float32))

    assert y.tolist() == [[21 * version]]


def test_simple_string_counts() -> None:
    """Text numbers become one more."""
    words = np.array([[str(n) for n in range(16)]], object)

    (more,) = run(SMALL["simple_string"], INPUT0=words)

    assert more.tolist() == [[str(n + 1) for n in range(16)]]


def test_nan_on_demand() -> None:
    """A negative element gives NaN, the others their root."""
    (y,) = run(SMALL["nan_on_demand"], x=np.array([[4, -1, np.inf, 0]], np.float32))

    assert np.array_equal(y, np.array([[2, np.nan, np.inf, 0]], np.float32), equal_nan=True)


def test_fail_on_demand() -> None:
    """An index past the row's end makes the engine fail."""
    with pytest.raises(Exception, match="Out of range"):
        run(
            SMALL["fail_on_demand"],
            x=np.ones((1, 4), np.float32),
            index=np.full((1, 1), 9, np.int64),
        )


@pytest.mark.parametrize("name", REFUSED)
def test_broken_models_do_not_load(name: str) -> None:
    """The engine refuses what is broken on purpose."""
    with pytest.raises(Exception, match=r"opset|IR version|registered|parsing failed"):
        run(SMALL[name], x=np.ones((1, 16), np.float32))


@pytest.mark.parametrize("index", [0, 1, 1499])
def test_each_of_many_answers_for_itself(index: int) -> None:
    """The engine's answer equals the one worked out beside it, to the last bit."""
    (model,) = islice(many.many_models(index + 1), index, None)
    x = np.arange(16, dtype=np.float32).reshape(2, 8) / 8

    (y,) = run(model, x=x)

    assert np.array_equal(y, many.answer(index, x))


def test_of_many_no_two_answer_the_same() -> None:
    """An x of zeros tells 1,500 models apart."""
    x = np.zeros((1, 8), np.float32)

    answers = {many.answer(index, x).tobytes() for index in range(1500)}

    assert len(answers) == 1500


def test_the_same_graph_gives_the_same_bytes() -> None:
    """A model's digest does not change from run to run."""
    assert tiny_graph().model_bytes() == tiny_graph().model_bytes()


def test_a_model_replaces_the_one_before_it(tmp_path: Path) -> None:
    """Files of the model that was there before are gone, and nothing else lies around."""
    config = Config(
        backend="onnxruntime",
        max_batch_rows=4,
        inputs=(Tensor(name="x", datatype="BYTES", dims=(-1, 2)),),
        outputs=(),
    )
    root = tmp_path / "models"
    write_model(root, ModelFolder(name="m", config=config, files={"1/model.onnx": b"old"}))

    folder = write_model(root, ModelFolder(name="m", config=config, files={"2/model.onnx": b"new"}))

    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert files == ["models/m/2/model.onnx", "models/m/config.pbtxt"]
    assert (folder / "config.pbtxt").read_text() == (
        'name: "m"\nbackend: "onnxruntime"\nmax_batch_size: 4\n'
        'input { name: "x", data_type: TYPE_STRING, dims: [ -1, 2 ] }\n'
    )


def test_a_cached_wheel_is_not_downloaded_again(tmp_path: Path) -> None:
    """A file with the pinned digest is taken as it is."""
    path = tmp_path / "some-1-py3-none-any.whl"
    path.write_bytes(b"checked")
    wheel = Wheel(
        requirement="some==1", filename=path.name, sha256=digest(path), licence="Apache-2.0"
    )

    assert WheelCache(tmp_path).wheel(wheel) == path
