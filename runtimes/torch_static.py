"""What a TorchScript archive says of itself, read as a zip file: torch is not imported.

::

    NAME/version            the file version
    NAME/data.pkl           the module's attributes: read opcode by opcode, never unpickled
    NAME/constants.pkl      likewise
    NAME/code/….py          the compiled code as text, which names its operators
    NAME/data/…             weights
"""

import re
import zipfile
from typing import Final

from runtimes.model_facts import FileKind, PickledFile, TorchScriptArchive
from runtimes.pickle_scan import MAX_PICKLE_BYTES, foreign_imports, saved_flags
from runtimes.zip_limits import read_member

MAX_CODE_BYTES: Final = 64 << 20
MAX_VERSION_BYTES: Final = 32
OPERATOR: Final = re.compile(r"(?<![\w.])ops\.(\w+)\.(\w+)")


def read_torchscript(archive: zipfile.ZipFile, prefix: str) -> TorchScriptArchive:
    """Read an archive that has code and constants.

    Args:
        archive: An open archive.
        prefix: Its one folder, with a slash at the end.

    Raises:
        ValueError: It is damaged, or a member is too large.
    """
    names = archive.namelist()
    pickles = [
        read_member(archive, name, MAX_PICKLE_BYTES)
        for name in (f"{prefix}data.pkl", f"{prefix}constants.pkl")
        if name in names
    ]
    flags = [saved_flags(pickle, "training") for pickle in pickles]
    return TorchScriptArchive(
        file_version=_version(archive, prefix),
        operators=tuple(sorted(_operators(archive, prefix))),
        is_training=any(True in found for found in flags),
        pickle_imports=tuple(
            sorted({one for pickle in pickles for one in foreign_imports(pickle, is_script=True)})
        ),
        weight_bytes=sum(
            item.file_size
            for item in archive.infolist()
            if item.filename.startswith((f"{prefix}data/", f"{prefix}constants/"))
        ),
    )


def read_checkpoint(archive: zipfile.ZipFile, prefix: str) -> PickledFile:
    """Read an archive of torch.save: what would its pickle import?

    Raises:
        ValueError: It is damaged.
    """
    pickle = read_member(archive, f"{prefix}data.pkl", MAX_PICKLE_BYTES)
    return PickledFile(kind=FileKind.CHECKPOINT, pickle_imports=foreign_imports(pickle))


def _version(archive: zipfile.ZipFile, prefix: str) -> int:
    for name in (f"{prefix}version", f"{prefix}.data/version"):
        if name in archive.namelist():
            text = read_member(archive, name, MAX_VERSION_BYTES).strip()
            if not text.isdigit():
                raise ValueError("its file version is no number")
            return int(text)
    raise ValueError("it states no file version")


def _operators(archive: zipfile.ZipFile, prefix: str) -> set[str]:
    found: set[str] = set()
    left_bytes = MAX_CODE_BYTES
    for name in archive.namelist():
        if name.startswith(f"{prefix}code/") and name.endswith(".py"):
            code = read_member(archive, name, left_bytes)
            left_bytes -= len(code)
            text = code.decode("utf-8", "replace")
            found.update(f"{one[1]}::{one[2]}" for one in OPERATOR.finditer(text))
    return found
