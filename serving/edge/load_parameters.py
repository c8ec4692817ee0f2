"""Pure: the parameters of a load, from either transport, into what they ask for.

::

    config                   the configuration to load with, as JSON text
    file:<version>/<path>    a file of the model's folder, which these files replace as a whole

Files come as base64 text over HTTP and as bytes over gRPC. Whether any of it is allowed, the
controller decides.
"""

import base64
import binascii
from collections.abc import Mapping
from itertools import accumulate
from pathlib import PurePosixPath
from typing import Final

import msgspec

from runtimes.errors import InvalidArgumentError
from serving.edge.control import LoadOverride

CONFIG: Final = "config"
FILE: Final = "file:"
MAX_FILES: Final = 1024
MAX_FILE_BYTES: Final = 1 << 30
MAX_PATH_PART_BYTES: Final = 255
MAX_PATH_BYTES: Final = 1024


def refuse_unknown(parameters: Mapping[str, object]) -> None:
    """Refuse parameters that a load does not have.

    Raises:
        InvalidArgumentError: There is one.
    """
    for name in parameters:
        if name != CONFIG and not name.startswith(FILE):
            raise InvalidArgumentError(f"unrecognized load parameter '{name[:80]}'.")


def load_override(parameters: Mapping[str, object]) -> LoadOverride | None:
    """Return what a load shall take in place of the model's folder; None: nothing.

    Raises:
        InvalidArgumentError: The value of a parameter is of no use.
    """
    if not parameters:
        return None
    files = _files(parameters)
    if CONFIG not in parameters:
        raise InvalidArgumentError("files are given and no 'config': send both")
    return LoadOverride(config=_config(parameters[CONFIG]), files=files)


def _config(value: object) -> str:
    try:
        parsed = msgspec.json.decode(value) if isinstance(value, str) else None
    except (msgspec.MsgspecError, RecursionError):
        parsed = None
    if not isinstance(value, str) or not isinstance(parsed, dict):
        raise InvalidArgumentError("parameter 'config' is no model configuration in JSON")
    return value


def _files(parameters: Mapping[str, object]) -> dict[str, bytes]:
    named = {name.removeprefix(FILE): name for name in parameters if name.startswith(FILE)}
    if len(named) > MAX_FILES:
        raise InvalidArgumentError(f"{len(named)} files are given: at most {MAX_FILES} are taken")
    folders = {folder for path in named for folder in _folders(path)}
    for path in named:
        if path in folders:
            raise InvalidArgumentError(f"'{path[:80]}' is both a file and a folder of others")
    files = {path: _content(name, parameters[name]) for path, name in named.items()}
    size_bytes = sum(map(len, files.values()))
    if size_bytes > MAX_FILE_BYTES:
        raise InvalidArgumentError(
            f"files of {size_bytes} bytes are given: at most {MAX_FILE_BYTES} are taken"
        )
    return files


def _folders(path: str) -> list[str]:
    """Check a path and return the folders that it lies in."""
    shown = path[:80]
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or "\0" in path or {"", ".", ".."} & set(parts):
        raise InvalidArgumentError(
            f"file '{shown}' is no path inside the model's folder, as in file:1/model.onnx"
        )
    longest = max(len(part.encode("utf-8", "surrogatepass")) for part in parts)
    if longest > MAX_PATH_PART_BYTES or len(path) > MAX_PATH_BYTES:
        raise InvalidArgumentError(
            f"file '{shown}…' has a part of {longest} bytes in {len(path)} characters: at most "
            f"{MAX_PATH_PART_BYTES} and {MAX_PATH_BYTES} are taken"
        )
    return list(accumulate(parts[:-1], lambda one, other: str(PurePosixPath(one, other))))


def _content(name: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgumentError(f"parameter '{name[:80]}' is no base64: {error}") from error
    raise InvalidArgumentError(
        f"parameter '{name[:80]}' is no file: base64 text (HTTP) or bytes (gRPC) are expected"
    )
