"""`bascule reproduce` and `bascule env` on bundles of real engines."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtimes.golden import Sample, encode_sample
from serving.cli.main import main
from serving.registry.bundles.bundle import Bundle, read_bundle
from serving.registry.bundles.golden_samples import samples_of
from tests.fakes import models
from tests.fakes.rewritten import rewrite_file, rewrite_manifest

TORCH_CONFIG = """
input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 1 ] }
max_batch_size: 8
"""


def run(*arguments: str) -> int:
    """Run a command line and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def packed(folder: Path, file_name: str, model: bytes, *options: str) -> Bundle:
    """Pack a model and read the bundle."""
    file = folder / file_name
    file.write_bytes(model)
    out = folder / "bundle"
    names = ("--name", "m", "--version", "1", "-o", str(out), "--code-revision", "abc")
    assert run("pack", str(file), *names, *options) == 0
    return read_bundle(out)


def tiny(folder: Path, *options: str) -> Bundle:
    """A bundle of a small ONNX model."""
    return packed(folder, "tiny.onnx", models.tiny(), *options)


def long_sum(folder: Path, *options: str) -> Bundle:
    """A bundle of a TorchScript model whose results depend on the number of threads."""
    from tests.fakes.torch_models import LongSum  # noqa: PLC0415  torch takes seconds

    (folder / "config.pbtxt").write_text(TORCH_CONFIG)
    content = models.torchscript(LongSum())
    return packed(folder, "sum.pt", content, "--config", str(folder / "config.pbtxt"), *options)


class Report:
    """What `bascule reproduce` said."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        capsys.readouterr()
        self.status = run("reproduce", *arguments, "--json")
        self.found: dict[str, Any] = json.loads(capsys.readouterr().out)

    @property
    def verdict(self) -> str:
        """The verdict."""
        return str(self.found["verdict"])

    @property
    def reasons(self) -> str:
        """Everything that explains it."""
        return "\n".join(self.found["reasons"])

    @property
    def changes(self) -> list[str]:
        """The fields of the environment that differ."""
        return [
            f"{item['field']} {item['before']} {item['after']}" for item in self.found["changes"]
        ]


def test_what_was_packed_here_is_exact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the environment of packing every output comes back bit for bit."""
    report = Report(capsys, str(tiny(tmp_path).folder))

    assert (report.status, report.verdict, report.changes) == (0, "EXACT", [])
    assert report.found["fingerprint"] == report.found["recorded_fingerprint"]


def test_a_version_of_the_registry_is_reproduced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """MODEL:VERSION is looked up in the registry."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path / "h"))
    run("push", str(tiny(tmp_path).folder))

    assert Report(capsys, "m:1").verdict == "EXACT"


def test_torchscript_is_exact_with_the_recorded_threads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The thread count is the recorded one, unless another is asked for."""
    assert Report(capsys, str(long_sum(tmp_path).folder)).verdict == "EXACT"


def test_another_thread_count_is_found_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Held to each bit, another thread count is DIFFERENT, and is named as what explains it."""
    bundle = long_sum(tmp_path, "--tolerance", "y=bitwise")
    recorded = bundle.manifest.packed_on.threads
    other = 2 if recorded == 1 else 1

    report = Report(capsys, str(bundle.folder), "--threads", str(other))

    assert (report.status, report.verdict) == (1, "DIFFERENT")
    assert f"with {recorded} threads every output is exact, as recorded" in report.reasons
    assert f"threads {recorded} {other}" in report.changes


def test_a_wrong_record_of_threads_is_found_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Golden outputs that were made with other threads than the manifest says are explained."""
    bundle = long_sum(tmp_path)
    made_with = bundle.manifest.packed_on.threads
    wrong = 2 if made_with == 1 else 1
    claim = bundle.manifest.packed_on.model_copy(update={"threads": wrong})
    rewrite_manifest(bundle, packed_on=claim)

    report = Report(capsys, str(bundle.folder))

    assert (report.status, report.verdict) == (1, "DIFFERENT")
    assert f"the record says {wrong}: the thread count explains it" in report.reasons


def test_a_tolerance_for_elsewhere_covers_other_threads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What moves by rounding is within the class of other environments, with what differs."""
    bundle = long_sum(tmp_path)
    recorded = bundle.manifest.packed_on.threads
    other = 2 if recorded == 1 else 1

    report = Report(capsys, str(bundle.folder), "--threads", str(other))

    assert (report.status, report.verdict) == (0, "WITHIN other environment")
    assert report.changes == [f"threads {recorded} {other}"]


def test_one_changed_weight_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A byte of the model's file that changed is found before anything is run."""
    bundle = tiny(tmp_path)
    content = bytearray((bundle.folder / "model.onnx").read_bytes())
    content[200] ^= 1
    rewrite_file(bundle, "model.onnx", bytes(content))

    report = Report(capsys, str(bundle.folder))

    assert (report.status, report.verdict) == (1, "DIFFERENT")
    assert "model.onnx is not the file that was packed (a weight or file of" in report.reasons


def test_a_weight_that_was_changed_with_its_manifest_is_found_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the manifest was made to fit, the golden outputs tell: model, place and difference."""
    bundle = tiny(tmp_path)
    weight = np.float32(models.WEIGHT[0, 1])
    content = models.tiny().replace(weight.tobytes(), np.float32(weight + 0.5).tobytes(), 1)
    rewrite_file(bundle, "model.onnx", content)
    rewrite_manifest(bundle)

    report = Report(capsys, str(bundle.folder))

    assert (report.status, report.verdict) == (1, "DIFFERENT")
    assert "the model was changed (a weight" in report.reasons
    (output,) = report.found["outputs"]
    assert output["comparison"]["largest_abs"] > 0
    assert output["comparison"]["first_difference"]


def test_another_package_is_named_as_what_may_explain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Golden outputs of another environment, outside of the tolerance, name what differs."""
    bundle = tiny(tmp_path)
    (first, *others) = samples_of(bundle.folder, bundle.manifest)
    moved = Sample(inputs=first.inputs, outputs=(first.outputs[0] + np.float32(1),))
    rewrite_file(bundle, "golden/0.npz", encode_sample(moved))
    packages = {**bundle.manifest.packed_on.packages, "numpy": "2.0.0"}
    recorded = bundle.manifest.packed_on.model_copy(update={"packages": packages})
    rewrite_manifest(bundle, packed_on=recorded)

    report = Report(capsys, str(bundle.folder))

    assert (report.status, report.verdict, len(others)) == (1, "DIFFERENT", 2)
    assert f"numpy 2.0.0 → {np.__version__}" in report.reasons


def test_without_samples_nobody_can_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No golden samples is UNVERIFIABLE and exit status 2, and never a guess."""
    report = Report(capsys, str(tiny(tmp_path, "--golden-samples", "0").folder))

    assert (report.status, report.verdict) == (2, "UNVERIFIABLE")
    assert "no golden samples" in report.reasons


def test_a_device_that_is_not_there_is_unverifiable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that cannot be loaded as it is asked for gives no verdict on its results."""
    report = Report(capsys, str(tiny(tmp_path).folder), "--device", "cuda:97")

    assert (report.status, report.verdict) == (2, "UNVERIFIABLE")
    assert "the model cannot be run here" in report.reasons


def test_the_report_reads_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """People get the verdict first, then outputs and the environment."""
    bundle = tiny(tmp_path)
    capsys.readouterr()

    run("reproduce", str(bundle.folder))

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("EXACT  m:1  digest ")
    assert lines[1:2] == ["  output  y: exact, 44 elements"]
    assert lines[2].startswith("  here    the recorded environment")


def test_env_diff_names_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two environments are compared field by field: bundles, facts files and this node."""
    bundle = tiny(tmp_path)
    packages = {**bundle.manifest.packed_on.packages, "numpy": "2.0.0", "torch": "2.0.0"}
    recorded = bundle.manifest.packed_on.model_copy(update={"packages": packages})
    rewrite_manifest(bundle, packed_on=recorded)
    run("facts", "-o", str(tmp_path / "node.json"), "--engines", "none")
    capsys.readouterr()

    statuses = [
        run("env", "diff", str(bundle.folder), at) for at in ("here", str(tmp_path / "node.json"))
    ]

    lines = capsys.readouterr().out.splitlines()
    assert statuses == [0, 0]
    assert lines[0] == f"numpy 2.0.0 → {np.__version__}"
    assert lines[1].startswith("torch 2.0.0 → ")
    assert lines[1].endswith("(cannot change a result)")
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]


def test_env_show_has_the_fingerprint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was recorded, and the fingerprint of what can change a result, are shown."""
    bundle = tiny(tmp_path)
    capsys.readouterr()

    run("env", "show", str(bundle.folder), "--json")

    shown = json.loads(capsys.readouterr().out)
    assert shown["environment"]["python"] == bundle.manifest.packed_on.python
    assert len(shown["fingerprint"]) == 64
