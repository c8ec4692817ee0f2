"""Golden samples decide whether a loaded version may take calls."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from runtimes.contract import Array
from runtimes.datatypes import Datatype
from runtimes.errors import ModelLoadError
from runtimes.golden import Sample, write_sample
from runtimes.tolerance import Tolerance
from serving.registry.version import GoldenSpec, VersionSpec
from serving.worker.golden_replay import replay_golden
from tests.fakes.call_specs import tensor
from tests.fakes.function_model import FunctionModel

X = tensor("x", Datatype.FP32, (-1, 2))
Y = tensor("y", Datatype.FP32, (-1, 2))
BITWISE = Tolerance()
CLOSE = Tolerance(kind="close", rtol=1e-3)
HERE = "here"
ROWS = np.array([[1, 2], [3, 4]], np.float32)


def model(factor: float) -> FunctionModel:
    """A model that multiplies."""
    return FunctionModel((X,), (Y,), lambda feeds: [feeds[0] * np.float32(factor)])


def version(folder: Path, outputs: Array, tolerance: Tolerance) -> VersionSpec:
    """A version with one sample: `ROWS`, and what they gave."""
    write_sample(folder / "0.npz", Sample(inputs=(ROWS,), outputs=(outputs,)))
    golden = GoldenSpec(
        samples=("0.npz",),
        inputs=(X,),
        outputs=(Y,),
        same_environment=(BITWISE,),
        other_environment=(tolerance,),
        fingerprint="where it was packed",
    )
    return VersionSpec(
        model="m",
        version=1,
        file=str(folder / "model.echo"),
        format="echo",
        size_bytes=1,
        digest="d",
        origin="test",
        folder=str(folder),
        golden=golden,
    )


def test_equal_outputs_are_noted(tmp_path: Path) -> None:
    """Bit for bit what was packed."""
    note = replay_golden(model(2), version(tmp_path, ROWS * 2, BITWISE), HERE)

    assert note == "golden: 1 samples gave the packed outputs bit for bit"


def test_a_difference_within_tolerance_is_told(tmp_path: Path) -> None:
    """It loads, and the note says how far the results are off."""
    note = replay_golden(model(2), version(tmp_path, ROWS * np.float32(2.0001), CLOSE), HERE)

    assert note.startswith("golden: 1 samples within tolerance (output 'y' differs by up to 0.0004")


def test_where_it_was_packed_the_narrow_tolerance_decides(tmp_path: Path) -> None:
    """What is near enough elsewhere is not in the environment that made the samples."""
    spec = version(tmp_path, ROWS * np.float32(2.0001), CLOSE)

    with pytest.raises(ModelLoadError, match="in the environment that it was packed in"):
        replay_golden(model(2), spec, "where it was packed")


def test_an_unmeasured_environment_is_another_one(tmp_path: Path) -> None:
    """A bundle that does not say where it was packed is held to the wide tolerance."""
    spec = version(tmp_path, ROWS * np.float32(2.0001), CLOSE)
    assert spec.golden is not None
    unmeasured = replace(spec, golden=replace(spec.golden, fingerprint=""))

    assert "within tolerance" in replay_golden(model(2), unmeasured, HERE)


@pytest.mark.parametrize("tolerance", [BITWISE, CLOSE])
def test_other_outputs_refuse_the_version(tmp_path: Path, tolerance: Tolerance) -> None:
    """The message has the check's code, the output, the sample and what to do."""
    with pytest.raises(ModelLoadError, match=r"^BP-R01 output 'y' of 0\.npz: .*reproduce"):
        replay_golden(model(2.1), version(tmp_path, ROWS * 2, tolerance), HERE)


@pytest.mark.parametrize(("precision", "is_told"), [("tf32", True), ("fp32", False)])
def test_shorter_products_on_a_gpu_are_named_as_the_likely_cause(
    tmp_path: Path, precision: Literal["tf32", "fp32"], *, is_told: bool
) -> None:
    """A profile that allows TF32 is named, with the one that does not."""
    spec = version(tmp_path, ROWS * 2, BITWISE)
    policy = replace(spec.policy, device="cuda", profile="cuda-hopper", precision=precision)

    with pytest.raises(ModelLoadError) as caught:
        replay_golden(model(2.1), replace(spec, policy=policy), HERE)

    assert ("cuda-hopper allows TF32" in caught.value.message) is is_told


def test_a_damaged_sample_refuses_the_version(tmp_path: Path) -> None:
    """What cannot be read proves nothing."""
    spec = version(tmp_path, ROWS * 2, BITWISE)
    (tmp_path / "0.npz").write_bytes(b"no archive")

    with pytest.raises(ModelLoadError, match="BP-R01 golden samples: "):
        replay_golden(model(2), spec, HERE)


def test_tensors_that_the_configuration_left_out_are_told(tmp_path: Path) -> None:
    """Samples of another output than the configured ones are no proof of these."""
    spec = version(tmp_path, ROWS * 2, BITWISE)
    assert spec.golden is not None
    other = replace(spec.golden, outputs=(replace(Y, name="z"),))

    with pytest.raises(ModelLoadError, match="BP-R01 output 'z'"):
        replay_golden(model(2), replace(spec, golden=other), HERE)


def test_a_version_without_samples_is_loaded_without_a_note(tmp_path: Path) -> None:
    """Folders in Triton's layout have none."""
    spec = replace(version(tmp_path, ROWS, BITWISE), golden=None)

    assert replay_golden(model(2), spec, HERE) == ""


def test_a_waiver_lets_other_answers_pass(tmp_path: Path) -> None:
    """The version loads, and its note says what differs and who allowed that."""
    spec = version(tmp_path, ROWS, CLOSE)
    assert spec.golden is not None
    allowed = replace(spec, golden=replace(spec.golden, waiver="until May by ana: new GPUs"))

    note = replay_golden(model(2), allowed, HERE)

    assert "BP-R01 output 'y'" in note
    assert note.endswith("(waived until May by ana: new GPUs)")
