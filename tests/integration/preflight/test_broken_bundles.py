"""Preflight over files: bundles, model files and repositories that are broken on purpose."""

import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest

from runtimes.findings import Finding, Severity
from runtimes.preflight.catalogue import CATALOGUE
from runtimes.preflight.check import check
from serving.registry.bundles.manifest import MANIFEST_FILE
from serving.registry.preflight.preflight_target import read_target
from serving.registry.preflight.subject import Surroundings
from serving.rollout import profile_choice
from tests.fakes import archives, models
from tests.fakes.model_files import BATCH, bundle, write
from tests.fakes.node_facts import CPU_NODE
from tests.fakes.preflight_cases import CASES as RECORDED

AROUND = Surroundings(node=CPU_NODE)


def errors_of(place: Path) -> list[Finding]:
    """The errors that preflight finds."""
    findings = check(read_target(place, AROUND).subject)
    return [one for one in findings if one.severity is Severity.ERROR]


def repository(folder: Path, content: bytes, name: str, config: str = "") -> Path:
    """Put a model into a repository and return its folder."""
    place = folder / "repository" / "m"
    (place / "1").mkdir(parents=True)
    (place / "1" / name).write_bytes(content)
    (place / "config.pbtxt").write_text(config)
    return place


def changed(folder: Path, change: Callable[[Path], None]) -> Path:
    """Pack a healthy bundle and damage it."""
    place = bundle(folder)
    change(place)
    return place


def overwrite(file: Path, content: bytes) -> None:
    """Replace a read-only file."""
    file.unlink()
    file.write_bytes(content)


def flip_a_byte(place: Path) -> None:
    """Change one byte of the model, not its size."""
    raw = bytearray((place / "model.onnx").read_bytes())
    raw[-1] ^= 1
    overwrite(place / "model.onnx", bytes(raw))


def cut(place: Path) -> None:
    """Cut the model off."""
    overwrite(place / "model.onnx", models.truncated())


def link_out(place: Path) -> None:
    """Put a link to elsewhere in a file's place."""
    (place / "labels.txt").unlink()
    (place / "labels.txt").symlink_to("/etc/hostname")


def external(folder: Path, location: str, data: bytes | None = None) -> Path:
    """Write a model whose weights lie in another file; None leaves that file out."""
    model, payload = models.external(location)
    file = write(folder, model)
    if data is not None:
        (file.parent / location).write_bytes(data or payload)
    return file


def external_link(folder: Path) -> Path:
    """Let external data be a link that leads out of the folder."""
    model, payload = models.external("w.bin")
    outside = write(folder / "outside", payload, "w.bin")
    file = write(folder, model)
    (file.parent / "w.bin").symlink_to(outside)
    return file


def unknown_operator(folder: Path) -> Path:
    """Write a model with an operator that the standard domain does not have."""
    model = onnx.ModelProto()
    model.ParseFromString(models.tiny())
    model.graph.node[0].op_type = "Frobnicate"
    return write(folder, model.SerializeToString())


def later_operator(folder: Path) -> Path:
    """Write a model with an operator that came after its opset."""
    model = onnx.ModelProto()
    model.ParseFromString(models.tiny())
    model.graph.node[0].op_type = "Gelu"
    return write(folder, model.SerializeToString())


def named_v2(folder: Path) -> Path:
    """Write a repository whose version folder is no number."""
    place = repository(folder, models.tiny(), "model.onnx")
    (place / "1").rename(place / "v2")
    return place


@dataclass(frozen=True)
class Case:
    """How to write something broken."""

    code: str
    make: Callable[[Path], Path]
    remedy: str


PICKLE = archives.calls_system("touch pwned")
CASES = {
    "cut off": Case("BP-F01", lambda f: changed(f, cut), "pack or copy the bundle again"),
    "a byte changed": Case("BP-F01", lambda f: changed(f, flip_a_byte), "pack or copy"),
    "missing file": Case(
        "BP-F07", lambda f: changed(f, lambda p: (p / "labels.txt").unlink()), "pack or copy"
    ),
    "extra file": Case(
        "BP-F08", lambda f: changed(f, lambda p: (p / "x.txt").touch() or None), "remove it"
    ),
    "a link in a bundle": Case("BP-F04", lambda f: changed(f, link_out), "copy of the file"),
    "a manifest that is none": Case(
        "BP-F10", lambda f: changed(f, lambda p: overwrite(p / MANIFEST_FILE, b"{}")), "pack"
    ),
    "opset too new": Case("BP-O01", lambda f: bundle(f, models.bad_opset()), "opset 26 or lower"),
    "IR too new": Case("BP-O02", lambda f: bundle(f, models.bad_ir()), "IR version 13 or lower"),
    "custom operator": Case(
        "BP-O03", lambda f: bundle(f, models.bad_operator()), "standard operators"
    ),
    "unknown operator": Case("BP-O04", unknown_operator, "without it"),
    "an operator of a later opset": Case("BP-O04", later_operator, "an opset that has"),
    "missing external data": Case("BP-F02", lambda f: external(f, "w.bin"), "beside the model"),
    "external data cut off": Case(
        "BP-F03", lambda f: external(f, "w.bin", b"short"), "from the same export"
    ),
    "external data in ..": Case("BP-F04", lambda f: external(f, "../w.bin"), "beside the model"),
    "external data at /": Case("BP-F04", lambda f: external(f, "/w.bin"), "beside the model"),
    "external data by a link": Case("BP-F04", external_link, "beside the model"),
    "empty": Case("BP-F09", lambda f: write(f, b""), "compare sizes"),
    "text": Case("BP-F09", lambda f: write(f, models.garbage()), "compare sizes"),
    "half of a file": Case("BP-F09", lambda f: write(f, models.truncated()), "compare sizes"),
    "half of an archive": Case(
        "BP-F09", lambda f: write(f, archives.script()[:200], "model.pt"), "compare sizes"
    ),
    "ONNX named .pt": Case("BP-F05", lambda f: write(f, models.tiny(), "model.pt"), "the format"),
    "a checkpoint": Case(
        "BP-F05", lambda f: write(f, archives.checkpoint(), "model.pt"), "torch.jit.script"
    ),
    "a .pt2 named .pt": Case(
        "BP-F05",
        lambda f: repository(f, archives.exported(), "model.onnx"),
        "the file's name",
    ),
    "names that lead out": Case(
        "BP-F06", lambda f: write(f, archives.zipped({"../x": b""}), "model.pt"), "own tools"
    ),
    "a pickle that calls": Case(
        "BP-S01", lambda f: write(f, b"\x80\x02" + PICKLE, "model.pt"), "ONNX"
    ),
    "a checkpoint that calls": Case(
        "BP-S01", lambda f: write(f, archives.checkpoint(PICKLE), "model.pt"), "do not load it"
    ),
    "TorchScript that calls": Case(
        "BP-S01", lambda f: write(f, archives.script(data=PICKLE), "model.pt"), "do not load it"
    ),
    ".pt2 that calls": Case(
        "BP-S01", lambda f: write(f, archives.exported(sample=PICKLE), "model.pt2"), "do not load"
    ),
    "unsigned .pt2": Case("BP-S02", lambda f: write(f, archives.exported(), "model.pt2"), "sign"),
    "TorchScript's absent operator": Case(
        "BP-T02",
        lambda f: write(f, archives.script(body="ops.torchvision.nms(x, x, 0.5)"), "model.pt"),
        "torch's own operators",
    ),
    "fixed batch": Case("BP-C02", lambda f: bundle(f, models.one_row()), "max_batch_size 0"),
    "an input's name": Case(
        "BP-C01",
        lambda f: bundle(f, config=BATCH + 'input {name: "xx" data_type: TYPE_FP32 dims: 16}'),
        "did you mean x?",
    ),
    "an input's datatype": Case(
        "BP-C01",
        lambda f: bundle(f, config=BATCH + 'input {name: "x" data_type: TYPE_INT8 dims: 16}'),
        "correct the configuration",
    ),
    "an output that is no tensor": Case(
        "BP-C01", lambda f: bundle(f, models.sequence_output(), ""), "a tensor in its place"
    ),
    "an unknown field": Case(
        "BP-C05",
        lambda f: repository(f, models.tiny(), "model.onnx", "max_batchsize: 8"),
        "correct the configuration",
    ),
    "a preferred batch beyond the largest": Case(
        "BP-C05",
        lambda f: repository(
            f, models.tiny(), "model.onnx", BATCH + "dynamic_batching {preferred_batch_size: 16}"
        ),
        "not between 1 and max_batch_size 8",
    ),
    "a version that is no number": Case("BP-C06", named_v2, "positive number"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_broken_model_has_its_own_code(case: Case, tmp_path: Path) -> None:
    """One thing is broken: its code is the only one, the remedy is named, no folder is."""
    errors = errors_of(case.make(tmp_path))
    texts = [f"{one.message}: {one.fix}" for one in errors]

    assert {one.code for one in errors} == {case.code}
    assert any(case.remedy in text for text in texts)
    assert all(str(tmp_path) not in text for text in texts)


@pytest.mark.parametrize(
    "make",
    [
        bundle,
        lambda f: write(f, models.tiny()),
        lambda f: external(f, "w.bin", b""),
        lambda f: write(f, archives.script(), "model.pt"),
        lambda f: repository(f, models.tiny(), "model.onnx", BATCH),
        lambda f: repository(f, models.tiny(), "model.onnx") / "1",
        lambda f: bundle(f, models.one_row(), "max_batch_size: 0"),
    ],
    ids=["bundle", "file", "external", "script", "model", "version", "one row"],
)
def test_healthy_neighbours_have_no_error(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """What is not broken is not found to be."""
    assert errors_of(make(tmp_path)) == []


@pytest.mark.parametrize(
    "content", [b"\x80\x02" + PICKLE, archives.checkpoint(PICKLE), archives.script(data=PICKLE)]
)
def test_a_pickle_is_looked_through_and_not_run(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What unpickling would have done has not happened."""
    monkeypatch.chdir(tmp_path)

    codes = {one.code for one in errors_of(write(tmp_path, content, "model.pt"))}

    assert codes == {"BP-S01"}
    assert not (tmp_path / "pwned").exists()


def test_a_folder_that_all_may_write(tmp_path: Path) -> None:
    """It is a warning, with the command that mends it."""
    place = bundle(tmp_path)
    place.chmod(0o777)

    findings = check(read_target(place, AROUND).subject)

    warnings = {one.code: one.fix for one in findings if one.severity is Severity.WARNING}
    assert warnings == {"BP-S05": "chmod -R o-w the model's folder"}


def test_a_signature_is_verified(tmp_path: Path) -> None:
    """A signature file that is none is an error of its own, whatever the policy."""
    place = bundle(tmp_path)
    (place / "signature.dsse.json").write_bytes(b"{}")

    assert {one.code for one in errors_of(place)} == {"BP-S04"}


def test_a_zip_bomb_is_not_opened(tmp_path: Path) -> None:
    """An archive that grows a thousandfold is refused by its directory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/constants.pkl", bytes(8 << 20))

    errors = errors_of(write(tmp_path, buffer.getvalue(), "model.pt"))

    assert [one.code for one in errors] == ["BP-F06"]
    assert "zip bomb" in errors[0].message
    assert os.sep not in errors[0].subject


def test_every_error_has_a_case() -> None:
    """No error of the catalogue is without something broken that has it and nothing else."""
    shown = {case.code for case in (*CASES.values(), *RECORDED.values())}
    errors = {code for code, entry in CATALOGUE.items() if entry.severity is Severity.ERROR}

    assert errors - shown == {profile_choice.NO_FIT}
