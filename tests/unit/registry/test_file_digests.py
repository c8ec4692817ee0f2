"""Files that are not those of the bundle are never loaded."""

import hashlib
from pathlib import Path

import pytest

from runtimes.errors import ModelLoadError
from serving.registry.file_digests import FileDigest, require_files

CONTENT = b"weights" * 100


def listed(path: str = "model.onnx") -> FileDigest:
    """What the manifest says of a file with `CONTENT`."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    return FileDigest(path=path, size_bytes=len(CONTENT), sha256=digest)


def test_the_files_that_were_packed_are_accepted(tmp_path: Path) -> None:
    """Equal bytes, in a folder of the bundle too."""
    (tmp_path / "data").mkdir()
    for path in ("model.onnx", "data/weights.bin"):
        (tmp_path / path).write_bytes(CONTENT)

    require_files(tmp_path, (listed(), listed("data/weights.bin")))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param(CONTENT[:-1], "it has 699 bytes and the manifest says 700", id="cut off"),
        pytest.param(b"W" + CONTENT[1:], "differs from the manifest's", id="a changed byte"),
        pytest.param(None, "cannot be read", id="missing"),
    ],
)
def test_another_file_is_refused_with_its_name(
    tmp_path: Path, content: bytes | None, told: str
) -> None:
    """The message has the check's code, the file, the difference and the remedy."""
    if content is not None:
        (tmp_path / "model.onnx").write_bytes(content)

    with pytest.raises(ModelLoadError, match=told) as caught:
        require_files(tmp_path, (listed(),))
    assert caught.value.message.startswith("BP-F01 model.onnx: ")
    assert "push the bundle again" in caught.value.message
