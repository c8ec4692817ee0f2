"""`bascule pack` on real engines: what running a model puts into its bundle."""

import json
from pathlib import Path

import numpy as np
import pytest

from runtimes.devices import Device
from runtimes.gpu_memory import GpuMeter
from serving.cli.main import main
from serving.cli.pack import pack_checked
from serving.registry.bundles.bundle import Bundle, read_bundle
from serving.registry.bundles.completion import RunOrder
from serving.registry.bundles.golden_samples import samples_of
from serving.registry.bundles.packing import PackOrder
from serving.registry.store import Registry
from tests.fakes import archives, models
from tests.fakes.bundles import PACKED_UTC
from tests.fakes.model_files import write
from tests.fakes.nvml import MIB, OWN_PID, FakeGpu, FakeNvml, Process, fake_gpu

REVISION = ("--code-revision", "abc")


def run(*arguments: str) -> int:
    """Run a command line and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def packed(folder: Path, model: bytes, *options: str) -> Bundle:
    """Pack an ONNX model and read the bundle."""
    file = folder / "source.onnx"
    file.write_bytes(model)
    out = folder / "bundle"
    names = ("--name", "m", "--version", "1", "-o", str(out))
    assert run("pack", str(file), *names, *REVISION, *options) == 0
    return read_bundle(out)


def test_the_manifest_says_what_running_showed(tmp_path: Path) -> None:
    """Specs, the proven batch, memory, the environment and golden samples are in the manifest."""
    manifest = packed(tmp_path, models.tiny()).manifest

    assert [(item.name, item.datatype, item.shape) for item in manifest.inputs] == [
        ("x", "FP32", (-1, 16))
    ]
    assert [(item.name, item.shape) for item in manifest.outputs] == [("y", (-1, 4))]
    assert manifest.max_batch_rows == 64
    assert manifest.requirements.memory_bytes > 0
    assert manifest.packed_on.libc.startswith("glibc")
    assert manifest.packed_on.threads >= 1
    assert manifest.packed_on.cpu_flags == tuple(sorted(manifest.packed_on.cpu_flags))
    assert manifest.card_file == "card.md"


def test_golden_samples_are_of_several_sizes(tmp_path: Path) -> None:
    """Three samples of 1, 2 and 8 rows hold what the model gave; here they are held to each bit."""
    bundle = packed(tmp_path, models.tiny())

    samples = samples_of(bundle.folder, bundle.manifest)

    inputs = [sample.inputs[0] for sample in samples if sample.inputs[0] is not None]
    assert [len(array) for array in inputs] == [1, 2, 8]
    for array, sample in zip(inputs, samples, strict=True):
        expected = array @ models.WEIGHT + models.BIAS
        np.testing.assert_allclose(sample.outputs[0], expected, rtol=1e-6)
    golden = bundle.manifest.golden
    assert golden is not None
    assert golden.generated
    assert golden.outputs[0].same_environment.kind == "bitwise"
    assert golden.outputs[0].other_environment.model_dump() == {
        "kind": "close",
        "ulp": 0,
        "rtol": 1e-3,
        "atol": 1e-5,
    }


def test_packing_twice_gives_one_content(tmp_path: Path) -> None:
    """The same file packed again is the same content, golden outputs included."""
    manifests = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        manifests.append(packed(tmp_path / name, models.tiny()).manifest)

    assert manifests[0].content_digest() == manifests[1].content_digest()
    assert manifests[0].files == manifests[1].files


def test_a_file_pushed_twice_is_one_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bascule push FILE` again does nothing."""
    monkeypatch.setenv("BASCULE_HOME", str(tmp_path / "h"))
    (tmp_path / "m.onnx").write_bytes(models.tiny())

    assert [run("push", str(tmp_path / "m.onnx")) for _ in range(2)] == [0, 0]

    with Registry(tmp_path / "h") as registry:
        assert [item.version for item in registry.versions("m")] == [1]


def test_given_inputs_become_golden_samples(tmp_path: Path) -> None:
    """JSON objects and .npz files, by the inputs' names, are run in their order."""
    (tmp_path / "rows.json").write_text(json.dumps([{"x": [[1] * 16]}, {"x": [[2] * 16] * 3}]))
    np.savez(tmp_path / "more.npz", x=np.full((1, 16), 3, np.float32))
    options = ("--golden", str(tmp_path / "rows.json"), "--golden", str(tmp_path / "more.npz"))

    bundle = packed(tmp_path, models.tiny(), *options, "--tolerance", "y=ulp:4")

    golden = bundle.manifest.golden
    assert golden is not None
    assert not golden.generated
    assert golden.outputs[0].other_environment.ulp == 4
    inputs = [sample.inputs[0] for sample in samples_of(bundle.folder, bundle.manifest)]
    assert [(array[0, 0], len(array)) for array in inputs if array is not None] == [
        (1, 1),
        (2, 3),
        (3, 1),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.json", '{"z": 1}', "the model has no input 'z'"),
        ("rows.json", "{}", "input 'x' is missing"),
        ("rows.json", "[", "is no JSON"),
        ("rows.npz", "x", "no .npz file, or damaged"),
        ("rows.csv", "1", "golden inputs are .npz or .json files"),
    ],
    ids=["unknown", "missing", "no_json", "no_npz", "other"],
)
def test_given_inputs_that_do_not_fit_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, message: str
) -> None:
    """One sentence says which file is wrong and why; no bundle appears."""
    (tmp_path / name).write_text(content)
    (tmp_path / "m.onnx").write_bytes(models.tiny())
    names = ("--name", "m", "--version", "1", "-o", str(tmp_path / "out"))

    status = run("pack", str(tmp_path / "m.onnx"), *names, "--golden", str(tmp_path / name))

    told = capsys.readouterr().err
    assert status == 1
    assert message in told
    assert name in told
    assert not (tmp_path / "out").exists()


def test_a_model_that_refuses_made_up_inputs_is_packed_without_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said why there are none, and what to bring."""
    (tmp_path / "c.pbtxt").write_text("max_batch_size: 0")

    bundle = packed(tmp_path, models.reshape_42(), "--config", str(tmp_path / "c.pbtxt"))

    assert bundle.manifest.golden is None
    assert "no golden samples: " in capsys.readouterr().out


def test_what_was_said_is_in_the_manifest(tmp_path: Path) -> None:
    """Lineage, profiles, licence and notes come from flags, and card, contract, reference."""
    for name in ("card.txt", "ref.json"):
        (tmp_path / name).write_text(name)
    (tmp_path / "inputs.yaml").write_text("contract: 1\nstatus: draft\ninputs: {x: {min: 0}}\n")
    sha = "a" * 64
    manifest = packed(
        tmp_path,
        models.tiny(),
        *("--training-data", f"s3://rows#{sha}", "--trained-until", "2026-01-02"),
        *("--parent", "m:7", "--metric", "accuracy=0.93", "--metric", "loss=1e-3"),
        *("--profile", "cpu-avx2", "--profile", "cpu", "--deterministic"),
        *("--licence", "MIT", "--notes", "hello"),
        *("--card", str(tmp_path / "card.txt"), "--contract", str(tmp_path / "inputs.yaml")),
        *("--reference", str(tmp_path / "ref.json")),
    ).manifest

    lineage = manifest.lineage
    assert (lineage.training_data, lineage.training_data_sha256) == ("s3://rows", sha)
    assert str(lineage.trained_until) == "2026-01-02 00:00:00+00:00"
    assert (lineage.code_revision, lineage.parent) == ("abc", "m:7")
    assert lineage.metrics == {"accuracy": 0.93, "loss": 1e-3}
    assert manifest.requirements.profiles == ("cpu-avx2", "cpu")
    assert manifest.requirements.deterministic
    assert manifest.packed_on.threads == 1
    assert (manifest.licence, manifest.notes) == ("MIT", "hello")
    assert manifest.reference_file == "reference.json"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tolerance", "z=bitwise"), "names output 'z', and the model gives y"),
        (("--tolerance", "y=fine"), "unknown tolerance 'fine': write bitwise"),
        (("--metric", "accuracy"), "write it as accuracy=0.93"),
        (("--metric", "a=nan"), "write it as accuracy=0.93"),
        (("--profile", "No Profile"), "requirements.profiles"),
        (("--device", "tpu"), "unknown device 'tpu'"),
    ],
    ids=["output", "class", "metric", "nan", "profile", "device"],
)
def test_flags_that_cannot_be_meant_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    """One sentence says what is wrong and what to write; no bundle appears."""
    (tmp_path / "m.onnx").write_bytes(models.tiny())
    names = ("--name", "m", "--version", "1", "-o", str(tmp_path / "out"))

    status = run("pack", str(tmp_path / "m.onnx"), *names, *options)

    assert (status, message in capsys.readouterr().err) == (1, True)
    assert not (tmp_path / "out").exists()


def test_what_the_file_says_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Opset, operators, size and an estimate of memory: by pack, by inspect, and as JSON."""
    bundle = packed(tmp_path, models.tiny())
    told = capsys.readouterr().out
    assert run("inspect", str(bundle.folder)) == 0
    seen = capsys.readouterr().out
    assert run("inspect", str(bundle.folder), "--json") == 0
    record = json.loads(capsys.readouterr().out)

    for text in (told, seen):
        assert "opset ai.onnx " in text
        assert "nodes: " in text
        assert "for a batch beside the weights (64 rows" in text
    assert record["model"]["opsets"].keys() == {""}
    assert record["estimate"]["peak_bytes"] >= 64 * (16 + 4) * 4


def test_what_cannot_be_inferred_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """TorchScript lists no operators and no shapes: the report says so in their place."""
    file = tmp_path / "model.pt"
    file.write_bytes(archives.script())
    assert run("inspect", str(file)) == 0
    told = capsys.readouterr().out

    assert "operators    not listed by the format" in told
    assert "of a batch's memory: none (this format" in told


def test_memory_of_a_gpu_is_in_the_manifest(tmp_path: Path) -> None:
    """What NVML showed while the model was loaded and run is what the bundle requires."""
    answers = dict(fake_gpu().answers)
    nvml = FakeNvml([FakeGpu(answers=answers)])
    meter = GpuMeter(nvml, Device("cuda", 0))
    answers["DeviceGetComputeRunningProcesses"] = [Process(pid=OWN_PID, usedGpuMemory=700 * MIB)]
    order = PackOrder(
        model_file=write(tmp_path, models.tiny()), name="m", version=1, created_utc=PACKED_UTC
    )

    bundle, seen = pack_checked(order, tmp_path / "bundle", RunOrder(golden_count=0, meter=meter))

    assert bundle.manifest.requirements.gpu_memory_bytes == 700 * MIB == seen.gpu_memory_bytes
