"""Learns a reference from rows in a process of its own: it computes for seconds, and serves nobody.

    python -m serving.worker.drift.learning_process ROWS REFERENCE

Whoever is first writes the reference; others who learnt of the same version then use that one.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from runtimes.contract import Array
from serving.monitor.drift.columns import Role
from serving.monitor.drift.learning import Tensor, learn_tensors
from serving.monitor.drift.storage import to_bytes

NICENESS: Final = 10
LOCK: Final = ".lock"
FILE_MODE: Final = 0o600


class KeptTensor(msgspec.Struct, frozen=True):
    """A tensor's rows, as they lie in the file."""

    name: str
    role: Role
    shape: tuple[int, ...]
    dtype: str
    """Empty: texts."""
    raw: bytes = b""
    texts: tuple[str | None, ...] = ()


def written(tensors: Sequence[Tensor]) -> bytes:
    """Write rows for the process."""
    return msgspec.msgpack.encode([_kept(tensor) for tensor in tensors])


def read(raw: bytes) -> list[Tensor]:
    """Read rows."""
    return [_tensor(kept) for kept in msgspec.msgpack.decode(raw, type=tuple[KeptTensor, ...])]


def start(tensors: Sequence[Tensor], reference: Path) -> subprocess.Popen[bytes]:
    """Begin to learn; the process ends by itself, and says nothing."""
    reference.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    rows = reference.with_name(f"{reference.name}.{os.getpid()}.rows")
    rows.write_bytes(written(tensors))
    rows.chmod(FILE_MODE)
    module = "serving.worker.drift.learning_process"
    return subprocess.Popen(  # noqa: S603  our own module
        [sys.executable, "-m", module, str(rows), str(reference)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def main(arguments: Sequence[str]) -> int:
    """Learn; returns the exit status."""
    rows, reference = map(Path, arguments)
    os.nice(NICENESS)
    try:
        profile = learn_tensors(read(rows.read_bytes()), is_ordered=True)
    finally:
        rows.unlink(missing_ok=True)
    _put_first(to_bytes(profile), reference)
    return 0


def _put_first(content: bytes, reference: Path) -> None:
    """Write a file whole, unless another replica was quicker.

    By a lock and not by a link, which file systems of containers and shares may not have.
    """
    fresh = reference.with_name(f"{reference.name}.{os.getpid()}.new")
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(reference.with_name(LOCK), flags, FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not reference.exists():
            fresh.write_bytes(content)
            fresh.replace(reference)
    finally:
        os.close(descriptor)
        fresh.unlink(missing_ok=True)


def _kept(tensor: Tensor) -> KeptTensor:
    values = tensor.values
    if values.dtype == object:
        texts = tuple(values.reshape(-1).tolist())
        return KeptTensor(tensor.name, tensor.role, values.shape, "", b"", texts)
    is_plain = values.dtype.kind in "biuf"  # BF16 has no name of its own
    raw = np.ascontiguousarray(values if is_plain else values.astype(np.float32))
    return KeptTensor(tensor.name, tensor.role, values.shape, raw.dtype.str, raw.tobytes())


def _tensor(kept: KeptTensor) -> Tensor:
    values: Array
    if kept.dtype:
        values = np.frombuffer(kept.raw, _dtype(kept.dtype)).reshape(kept.shape)
    else:
        values = np.empty(len(kept.texts), dtype=object)
        values[:] = kept.texts
        values = values.reshape(kept.shape)
    return Tensor(name=kept.name, role=kept.role, values=values)


def _dtype(text: str) -> np.dtype[Any]:
    return np.dtype(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
