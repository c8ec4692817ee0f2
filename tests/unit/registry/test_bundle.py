"""Bundles and manifests: what is packed is what is read, and nothing else is accepted."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import BasculeError, InvalidArgumentError, ModelLoadError, UnsupportedError
from serving.errors import AlreadyExistsError, NotFoundError
from serving.registry.bundles.bundle import Bundle, read_bundle
from serving.registry.bundles.manifest import (
    Golden,
    GoldenOutput,
    Manifest,
    Requirements,
    Tolerance,
    parse_manifest,
)
from serving.registry.bundles.packing import PackOrder, pack_bundle, renumber
from tests.fakes.bundles import CONFIG, PACKED_UTC, make_bundle


def order_of(file: Path) -> PackOrder:
    """An order for one model file."""
    return PackOrder(model_file=file, name="m", version=1, created_utc=PACKED_UTC, config=CONFIG)


def test_what_is_packed_is_read(tmp_path: Path) -> None:
    """A bundle read back is the bundle that was packed."""
    packed = make_bundle(tmp_path)

    assert read_bundle(packed.folder) == packed
    assert packed.size_bytes == len(b"weights")


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    """Equal content and time give an equal digest; one byte more gives another."""
    digests = [
        make_bundle(tmp_path / "a").digest,
        make_bundle(tmp_path / "b").digest,
        make_bundle(tmp_path / "c", content=b"other").digest,
    ]

    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_number_and_packing_do_not_change_what_is_served(tmp_path: Path) -> None:
    """Another number or time is another bundle with the same content; another byte is not."""
    first = make_bundle(tmp_path / "a").manifest
    later = make_bundle(tmp_path / "b", packed_utc=PACKED_UTC + timedelta(days=1)).manifest
    second = make_bundle(tmp_path / "c", version=2).manifest
    other = make_bundle(tmp_path / "d", content=b"other").manifest

    assert first.digest() != later.digest()
    assert first.content_digest() == later.content_digest() == second.content_digest()
    assert first.content_digest() != other.content_digest()


def test_a_renumbered_bundle_is_sound(tmp_path: Path) -> None:
    """The same files under another number are a bundle of their own."""
    bundle = renumber(make_bundle(tmp_path), 5, tmp_path / "five")

    assert read_bundle(tmp_path / "five") == bundle
    assert bundle.manifest.version == 5


def test_files_beside_the_model_keep_their_place(tmp_path: Path) -> None:
    """External data is found where the model looks for it."""
    (tmp_path / "source" / "parts").mkdir(parents=True)
    (tmp_path / "source" / "model.echo").write_text("")
    (tmp_path / "source" / "parts" / "data.bin").write_text("x")
    (tmp_path / "labels.txt").write_text("a")
    order = replace(
        order_of(tmp_path / "source" / "model.echo"),
        extra_files=(tmp_path / "source" / "parts" / "data.bin", tmp_path / "labels.txt"),
    )

    bundle = pack_bundle(order, tmp_path / "bundle")

    paths = [file.path for file in bundle.manifest.files]
    assert paths == ["model.echo", "parts/data.bin", "labels.txt"]
    assert read_bundle(bundle.folder) == bundle


def test_a_refused_bundle_never_appears(tmp_path: Path) -> None:
    """What the check refuses leaves nothing behind."""
    (tmp_path / "model.echo").write_text("")
    out = tmp_path / "out"

    def refuse(_: Bundle) -> Manifest:
        raise ModelLoadError("no")

    with pytest.raises(ModelLoadError):
        pack_bundle(order_of(tmp_path / "model.echo"), out / "bundle", refuse)

    assert list(out.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Packing onto something that exists is refused."""
    bundle = make_bundle(tmp_path)

    with pytest.raises(AlreadyExistsError, match="--output"):
        pack_bundle(order_of(tmp_path / "source" / "model.echo"), bundle.folder)


@pytest.mark.parametrize("file", ["model.pkl", "model.py", "model.bin"])
def test_formats_that_run_code_are_refused(tmp_path: Path, file: str) -> None:
    """Nothing that runs its author's code at load becomes a bundle."""
    (tmp_path / file).write_text("")

    with pytest.raises(UnsupportedError):
        pack_bundle(order_of(tmp_path / file), tmp_path / "bundle")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A model file that does not exist is not found."""
    with pytest.raises(NotFoundError, match=r"model\.onnx"):
        pack_bundle(order_of(tmp_path / "model.onnx"), tmp_path / "bundle")


def change_bytes(folder: Path) -> None:
    """Another content of the same length."""
    (folder / "model.echo").chmod(0o644)
    (folder / "model.echo").write_bytes(b"Weights")


def add_file(folder: Path) -> None:
    """A file that nobody listed."""
    (folder / "more.bin").write_bytes(b"")


def remove_file(folder: Path) -> None:
    """A listed file gone."""
    (folder / "model.echo").unlink()


def link_file(folder: Path) -> None:
    """A link in a file's place."""
    (folder / "model.echo").rename(folder.parent / "elsewhere")
    (folder / "model.echo").symlink_to(folder.parent / "elsewhere")


def link_folder(folder: Path) -> None:
    """A link to a folder outside."""
    (folder / "inside").symlink_to(folder.parent)


def put_pipe(folder: Path) -> None:
    """A pipe, which would block its reader."""
    os.mkfifo(folder / "pipe")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (change_bytes, "is not the file that was packed"),
        (add_file, "more.bin is not listed"),
        (remove_file, "model.echo is listed and does not exist"),
        (link_file, "plain files only"),
        (link_folder, "plain files only"),
        (put_pipe, "plain files only"),
    ],
)
def test_a_damaged_bundle_is_refused(
    tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    """Every difference from what was packed is found and named."""
    bundle = make_bundle(tmp_path)
    damage(bundle.folder)

    with pytest.raises(InvalidArgumentError, match=words):
        read_bundle(bundle.folder)


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    """Any other folder is not found to be a bundle."""
    with pytest.raises(NotFoundError, match="no bundle"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("format_version", 2, "format_version"),
        ("name", "a/b", "invalid model name"),
        ("version", 0, "version"),
        ("version", "1", "version"),
        ("model_file", "other.onnx", "not listed"),
        ("surprise", 1, "surprise"),
        ("files", [], "files"),
        ("created_utc", "2026-01-01T00:00:00", "created_utc"),
        ("requirements", {"memory_bytes": 10**400}, "requirements.memory_bytes"),
        ("requirements", {"gpu_memory_bytes": 1 << 61}, "requirements.gpu_memory_bytes"),
        ("inputs", [{"name": "x", "datatype": "FP32", "shape": [10**400]}], "inputs.0.shape.0"),
        ("lineage", {"metrics": {"loss": float("nan")}}, "lineage.metrics.loss"),
        ("lineage", {"metrics": {"loss": 10**400}}, "lineage.metrics.loss"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, field: str, value: object, words: str) -> None:
    """A field that is wrong or unknown is named."""
    manifest = json.loads(make_bundle(tmp_path).manifest.pretty())
    manifest[field] = value

    with pytest.raises(InvalidArgumentError, match=words):
        parse_manifest(json.dumps(manifest).encode(), "manifest.json")


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x", "a/../../x", "a//b", "./a", ".hidden", "manifest.json", "a\\b", "a\nb"],
)
def test_no_path_leads_out_of_a_bundle(tmp_path: Path, path: str) -> None:
    """A file's path is plain and stays inside."""
    manifest: dict[str, Any] = json.loads(make_bundle(tmp_path).manifest.pretty())
    manifest["model_file"] = path
    manifest["files"][0]["path"] = path

    with pytest.raises(InvalidArgumentError):
        parse_manifest(json.dumps(manifest).encode(), "manifest.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(st.one_of(st.binary(max_size=40), JSON.map(lambda value: json.dumps(value).encode())))
def test_no_bytes_raise_outside_the_tree(raw: bytes) -> None:
    """Any bytes at all are refused with one of our errors."""
    with pytest.raises(BasculeError):
        parse_manifest(raw, "manifest.json")


SAMPLE = "golden/1.npz"
EXACT = Tolerance()


def with_golden(folder: Path, content: bytes, *, generated: bool) -> Bundle:
    """A bundle with one golden sample of some content."""

    def complete(draft: Bundle) -> Manifest:
        (draft.folder / "golden").mkdir()
        (draft.folder / SAMPLE).write_bytes(content)
        outputs = (GoldenOutput(name="y", same_environment=EXACT, other_environment=EXACT),)
        golden = Golden(samples=(SAMPLE,), outputs=outputs, generated=generated)
        return draft.manifest.model_copy(update={"golden": golden})

    folder.mkdir()
    (folder / "model.echo").write_bytes(b"weights")
    return pack_bundle(order_of(folder / "model.echo"), folder / "bundle", complete)


def test_files_that_packing_makes_are_listed(tmp_path: Path) -> None:
    """What is written while a bundle is completed is measured and listed like any other file."""
    bundle = with_golden(tmp_path / "a", b"outputs", generated=True)

    assert [file.path for file in bundle.manifest.files] == ["model.echo", SAMPLE]
    assert read_bundle(bundle.folder) == bundle


def test_made_up_samples_are_no_content(tmp_path: Path) -> None:
    """Golden outputs of made-up inputs are a machine's; those that somebody brought are content."""
    made, brought = (
        [
            with_golden(tmp_path / f"{content}{generated}", content.encode(), generated=generated)
            for content in ("here", "there")
        ]
        for generated in (True, False)
    )

    assert made[0].manifest.content_digest() == made[1].manifest.content_digest()
    assert brought[0].manifest.content_digest() != brought[1].manifest.content_digest()


def test_files_are_known_by_their_role(tmp_path: Path) -> None:
    """Card, contract, lock file and reference have one name each, and the manifest says it."""
    files = {name: tmp_path / name for name in ("c.txt", "data.yaml", "lock.txt", "profile.JSON")}
    for file in files.values():
        file.write_text("")
    (tmp_path / "model.echo").write_text("")
    card, contract, lock, reference = files.values()
    order = replace(
        order_of(tmp_path / "model.echo"),
        card_file=card,
        contract_file=contract,
        lock_file=lock,
        reference_file=reference,
    )

    manifest = pack_bundle(order, tmp_path / "bundle").manifest

    assert (manifest.card_file, manifest.contract_file) == ("card.md", "contract.yaml")
    assert manifest.requirements.lock_file == "requirements.lock"
    assert manifest.reference_file == "reference.json"
    assert [file.path for file in manifest.files][1:] == [
        "card.md",
        "contract.yaml",
        "requirements.lock",
        "reference.json",
    ]


def test_a_card_and_memory_are_no_content(tmp_path: Path) -> None:
    """What only people read, and what was measured, makes no other content; a profile does."""
    first = make_bundle(tmp_path / "a").manifest
    measured, wanted = (
        first.model_copy(update={"requirements": requirements})
        for requirements in (Requirements(memory_bytes=5), Requirements(profiles=("cpu",)))
    )

    assert first.content_digest() == measured.content_digest()
    assert first.content_digest() != wanted.content_digest()


def test_a_stored_manifest_is_the_pretty_one(tmp_path: Path) -> None:
    """The bytes on disk are those that a signature stands for, whoever writes them."""
    bundle = make_bundle(tmp_path)
    renumbered = renumber(bundle, 2, tmp_path / "two")

    stored = [(item.folder / "manifest.json").read_bytes() for item in (bundle, renumbered)]
    assert stored == [item.manifest.pretty() for item in (bundle, renumbered)]
