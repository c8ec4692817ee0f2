"""Reads a model file by what it contains, whatever its name says; runs nothing of it."""

import zipfile
from pathlib import Path
from typing import Final

from runtimes.model_facts import FileKind, ModelFacts, PickledFile, UnreadableFile
from runtimes.pickle_scan import MAX_PICKLE_BYTES, foreign_imports
from runtimes.zip_limits import HostileArchiveError, open_archive, read_member

ZIP_MAGIC: Final = b"PK\x03\x04"
PICKLE_MAGIC: Final = b"\x80"
_NEWEST_PICKLE: Final = 5
MAX_TEXT_BYTES: Final = 64


def read_model_file(file: Path) -> ModelFacts:
    """Return what a file is and says of itself.

    Raises:
        OSError: It cannot be read at all.
    """
    with file.open("rb") as stream:
        head = stream.read(4)
    try:
        if head.startswith(ZIP_MAGIC):
            return _archive(file)
        if head.startswith(PICKLE_MAGIC) and len(head) > 1 and head[1] <= _NEWEST_PICKLE:
            return _pickle(file)
    except HostileArchiveError as error:
        return UnreadableFile(reason=str(error), is_hostile=True)
    except ValueError as error:
        return UnreadableFile(reason=str(error))
    from runtimes.onnx_static import read_onnx  # noqa: PLC0415  imports onnx

    return read_onnx(file)


def _archive(file: Path) -> ModelFacts:
    with open_archive(file) as archive:
        prefix = _prefix(archive)
        names = set(archive.namelist())
        if f"{prefix}archive_format" in names:
            return _exported(archive, prefix)
        from runtimes import torch_static  # noqa: PLC0415  only for torch's archives

        if f"{prefix}constants.pkl" in names:
            return torch_static.read_torchscript(archive, prefix)
        if f"{prefix}data.pkl" in names:
            return torch_static.read_checkpoint(archive, prefix)
    return UnreadableFile(reason="it is a zip archive and holds no model of torch")


def _exported(archive: zipfile.ZipFile, prefix: str) -> ModelFacts:
    from runtimes.pt2_static import read_pt2  # noqa: PLC0415  only for such archives

    found = read_member(archive, f"{prefix}archive_format", MAX_TEXT_BYTES).strip()
    if found != b"pt2":
        return UnreadableFile(reason=f"its archive_format is {found[:20]!r}, and not 'pt2'")
    return read_pt2(archive, prefix)


def _prefix(archive: zipfile.ZipFile) -> str:
    """Return the one folder that torch puts everything into."""
    names = archive.namelist()
    if not names:
        raise ValueError("it is a zip archive without members")
    return names[0].partition("/")[0] + "/"


def _pickle(file: Path) -> PickledFile:
    with file.open("rb") as stream:
        raw = stream.read(MAX_PICKLE_BYTES + 1)
    return PickledFile(kind=FileKind.PICKLE, pickle_imports=foreign_imports(raw))
