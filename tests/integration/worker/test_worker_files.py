"""A real worker compares a version's files with the manifest before an engine sees them."""

import hashlib
from dataclasses import replace
from pathlib import Path

from serving.registry.file_digests import FileDigest
from serving.registry.version import VersionSpec
from tests.fakes import models
from tests.fakes.worker_process import running_worker, version


def bundled(folder: Path, number: int) -> VersionSpec:
    """A version of the tiny model that says what its file must be."""
    content = models.tiny()
    spec = version(folder, f"tiny{number}", content)
    file = FileDigest(
        path=Path(spec.file).name,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    return replace(spec, folder=str(folder), files=(file,))


def test_a_changed_file_is_not_loaded(tmp_path: Path) -> None:
    """One changed byte keeps its version out of service, with the reason; its neighbour serves."""
    with running_worker(tmp_path) as worker:
        good, changed = bundled(tmp_path, 1), bundled(tmp_path, 2)
        content = bytearray(Path(changed.file).read_bytes())
        content[len(content) // 2] ^= 1
        Path(changed.file).write_bytes(content)

        last = {line["model"]: line for line in worker.apply(good, changed)}

    assert last["tiny1"]["state"] == "READY"
    assert last["tiny2"]["state"] == "UNAVAILABLE"
    assert last["tiny2"]["reason"].startswith(f"BP-F01 {Path(changed.file).name}: its sha256")
