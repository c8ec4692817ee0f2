"""Pure: arrays ↔ uncompressed .npz files. Nothing is unpickled, nothing is larger than its file.

A file is untrusted: its sizes are checked before an array is made, and the only failure is ours.
Equal arrays give equal files.
"""

import io
import re
import zipfile
from collections.abc import Mapping
from math import prod
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from runtimes.contract import Array
from runtimes.datatypes import DTYPES, Datatype
from runtimes.errors import InvalidArgumentError

MAX_RANK: Final = 64  # numpy's own limit
MAX_ELEMENTS: Final = 1 << 48  # of a shape with its zeros taken for ones: numpy multiplies these
SUFFIX: Final = ".npy"
_MAGIC: Final = re.compile(rb"\x93NUMPY([\x01-\x03])\x00", re.DOTALL)
_HEADER: Final = re.compile(
    rb"\{'descr': '([<|][a-z]\d)', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,19}, ?)*(?:\d{1,19})?)\), \} *\n"
)
_DTYPES: Final = MappingProxyType(
    {dtype.str.encode(): dtype for kind, dtype in DTYPES.items() if kind is not Datatype.BYTES}
)
_OLDEST: Final = (1980, 1, 1, 0, 0, 0)  # the oldest date that a zip file can say
# All that zipfile raises on bytes that are no archive, and numpy on shapes that are none.
_FAILURES: Final = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def encode_arrays(arrays: Mapping[str, Array]) -> bytes:
    """Return the bytes of a file that holds arrays of plain numbers by name."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(name + SUFFIX, _OLDEST), content.getvalue())
    return stream.getvalue()


def is_shape(sizes: tuple[int, ...]) -> bool:
    """Tell whether numpy can make an array of that shape, memory apart."""
    return len(sizes) <= MAX_RANK and prod(max(size, 1) for size in sizes) <= MAX_ELEMENTS


def decode_arrays(raw: bytes, source: str) -> dict[str, Array]:
    """Read the arrays of an uncompressed .npz file by their names; nothing is unpickled.

    No array is larger than the file: sizes are checked before anything is made.

    Raises:
        InvalidArgumentError: It is no such file.
    """
    arrays: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > len(raw):
                raise InvalidArgumentError(
                    f"{source}: it is compressed or damaged: write it with numpy.savez"
                )
            for entry in entries:
                _check_entry(entry, arrays, source)
                content = archive.read(entry)
                arrays[entry.filename.removesuffix(SUFFIX)] = _array(content, entry, source)
    except _FAILURES as error:
        raise InvalidArgumentError(
            f"{source}: no .npz file, or damaged ({error}): copy it again, or write it with "
            "numpy.savez"
        ) from error
    return arrays


def _check_entry(entry: zipfile.ZipInfo, known: Mapping[str, Array], source: str) -> None:
    name = entry.filename
    if not name.endswith(SUFFIX) or name.removesuffix(SUFFIX) in known:
        raise InvalidArgumentError(f"{source}: '{name[:60]}' is no array, or is there twice")
    if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
        raise InvalidArgumentError(
            f"{source}: '{name[:60]}' is compressed: write it with numpy.savez"
        )


def _array(content: bytes, entry: zipfile.ZipInfo, source: str) -> Array:
    """Read one .npy file: the header that NumPy writes, and exactly the bytes that it promises."""
    where = f"{source}: {entry.filename[:60]}"
    magic = _MAGIC.match(content)
    if magic is None:
        raise InvalidArgumentError(f"{where} is no array")
    start = 10 if magic[1] == b"\1" else 12
    end = start + int.from_bytes(content[8:start], "little")
    header = _HEADER.fullmatch(content[start:end])
    if header is None or header[1] not in _DTYPES:
        raise InvalidArgumentError(
            f"{where} is none of the protocol's datatypes, little-endian: save tensors as they are "
            "sent, BF16 as its bits in uint16 and texts as length-prefixed bytes in uint8"
        )
    dtype = _DTYPES[header[1]]
    shape = tuple(int(size) for size in header[3].split(b",") if size.strip())
    if not is_shape(shape) or prod(shape) * dtype.itemsize != len(content) - end:
        raise InvalidArgumentError(
            f"{where} has shape {list(shape)[:8]} and {len(content) - end} bytes of {dtype}: the "
            "file is damaged"
        )
    flat: np.ndarray[Any, np.dtype[Any]] = np.frombuffer(content[end:], dtype)
    # A copy: engines want arrays that may be written to.
    return flat.reshape(shape, order="F" if header[2] == b"True" else "C").copy(order="C")
