"""A bundle as one file: a tar archive, plain or gzip, written in one way and read with suspicion.

Written: names in order, no owners, no times, so that equal bundles give equal bytes. Read: as a
stream, header by header, into a folder of our own. Only plain files and folders come out; a name
that leads elsewhere or collides, a link, a device, a sparse file, a bomb or anything after the end
is refused, and `read_bundle` has the last word.
"""

import gzip
import shutil
import tarfile
import tempfile
import unicodedata
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, cast

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.errors import AlreadyExistsError, NotFoundError
from serving.registry.bundles.bundle import CHUNK_BYTES, read_bundle
from serving.registry.bundles.manifest import (
    MANIFEST_FILE,
    SIGNATURE_FILE,
    require_inner_path,
)

SUFFIXES: Final = (".tar", ".tar.gz", ".tgz")
BLOCK_BYTES: Final = tarfile.BLOCKSIZE
MAX_FILES: Final = 10_002
"""As many as a manifest may list, the manifest itself and its signature."""
MAX_TOTAL_BYTES: Final = 1 << 40
MAX_HEADER_BYTES: Final = 64 << 10
"""Of the extra header that a long name needs."""
MAX_RATIO: Final = 200
"""Of a compressed archive: weights hardly compress, a bomb a thousand times."""
SMALL_BYTES: Final = 16 << 20
"""Up to here an archive may compress as it likes."""
GZIP_MAGIC: Final = b"\x1f\x8b"
ZIP_MAGIC: Final = b"PK"
FILES: Final = (tarfile.REGTYPE, tarfile.AREGTYPE)


def is_archive(file: Path) -> bool:
    """Whether a file's name says that it is an archive of a bundle."""
    return file.name.lower().endswith(SUFFIXES)


def write_archive(folder: Path, target: Path) -> None:
    """Write a bundle into one file, which appears whole or not at all.

    Args:
        folder: The bundle; every file of it is read and compared first.
        target: The archive; compressed if its name ends in `.gz` or `.tgz`.

    Raises:
        AlreadyExistsError: `target` exists.
        NotFoundError: `folder` is no bundle.
        InvalidArgumentError: The bundle is damaged, or the name does not end as it must.
    """
    if not is_archive(target):
        raise InvalidArgumentError(f"{target} must end in {', '.join(SUFFIXES)}")
    if target.exists():
        raise AlreadyExistsError(f"{target} exists: choose another name")
    bundle = read_bundle(folder)
    paths = [MANIFEST_FILE, *sorted(file.path for file in bundle.manifest.files)]
    if bundle.signers:
        paths.insert(1, SIGNATURE_FILE)
    with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".archive-") as staging:
        draft = Path(staging) / "draft"
        with draft.open("wb") as stream:
            _write(folder, paths, stream, is_compressed=not target.name.lower().endswith(".tar"))
        draft.replace(target)


@contextmanager
def opened_archive(file: Path, parent: Path) -> Iterator[Path]:
    """Extract an archive for a while; gives the folder of the bundle in it, not read yet.

    Args:
        file: The archive.
        parent: Where there is room for what comes out.

    Raises:
        NotFoundError: The file cannot be read.
        InvalidArgumentError: It is no such archive, is cut off, or is built to harm.
        BasculeError: What is done with the bundle raises it; it names the archive then.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".archive-") as staging:
        folder = Path(staging) / "bundle"
        folder.mkdir()
        extract_archive(file, folder)
        root = _root(folder)
        try:
            yield root
        except BasculeError as error:  # the folder is gone when this is read
            raise error.reword(error.message.replace(str(root), str(file))) from error


def extract_archive(file: Path, folder: Path) -> None:
    """Extract an archive into an empty folder.

    Raises:
        NotFoundError: The file cannot be read.
        InvalidArgumentError: It is no such archive, is cut off, or is built to harm.
    """
    try:
        with file.open("rb") as raw:
            _extract(_Source(raw, str(file)), folder)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InvalidArgumentError(
            f"{file} is cut off or damaged: copy it again, compare sizes"
        ) from error
    except OSError as error:
        raise NotFoundError(f"{file} cannot be extracted: {error.strerror}") from error


class _Source:
    """The bytes of a tar stream, bounded by what was read for them."""

    def __init__(self, raw: IO[bytes], name: str) -> None:
        self.name = name
        self._raw = raw
        self._count = 0
        magic = raw.read(2)
        raw.seek(0)
        if magic == ZIP_MAGIC:
            raise InvalidArgumentError(
                f"{name} is a zip archive: bundles are archived as tar (bascule export, or tar "
                "--create), so unpack it and push the folder"
            )
        self._stream: IO[bytes] = raw
        if magic == GZIP_MAGIC:
            self._stream = cast("IO[bytes]", gzip.GzipFile(fileobj=raw, mode="rb"))

    def read(self, size: int) -> bytes:
        """Return exactly so many bytes."""
        found = self.read_some(size)
        if len(found) != size:
            raise InvalidArgumentError(
                f"{self.name} is cut off after {self._count} bytes: copy it again, compare sizes"
            )
        return found

    def read_some(self, size: int) -> bytes:
        """Return so many bytes, or fewer at the end."""
        found = self._stream.read(size)
        self._count += len(found)
        if self._count > SMALL_BYTES and self._count > MAX_RATIO * max(self._raw.tell(), 1):
            raise InvalidArgumentError(
                f"{self.name} grows from {self._raw.tell()} to {self._count} bytes and more, over "
                f"{MAX_RATIO} times: that is no bundle but a bomb"
            )
        return found


class _Names:
    """The paths that have come out: none twice, none inside another, none out of the folder."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def file(self, name: str) -> str:
        """Return a path that is safe to write, and remember it."""
        path = self._checked(name)
        key = _key(path)
        parents = {_key(str(parent)) for parent in Path(path).parents}
        if key in self._files | self._folders or parents & self._files:
            raise InvalidArgumentError(
                f"{self._source}: '{name[:80]}' collides with another name in the archive"
            )
        self._files.add(key)
        self._folders |= parents
        if len(self._files) > MAX_FILES:
            raise InvalidArgumentError(f"{self._source} has more than {MAX_FILES} files")
        return path

    def _checked(self, name: str) -> str:
        path = name.removeprefix("./")
        if path not in {MANIFEST_FILE, SIGNATURE_FILE}:
            require_inner_path(path)
        return path


def _extract(source: _Source, folder: Path) -> None:
    names = _Names(source.name)
    left_bytes = min(MAX_TOTAL_BYTES, shutil.disk_usage(folder).free)
    for member in _members(source):
        path = folder / names.file(member.name)
        if member.size > left_bytes:
            raise InvalidArgumentError(
                f"{source.name}: '{member.name[:80]}' has {member.size} bytes, and {left_bytes} "
                "are left: free space, or push the folder"
            )
        left_bytes -= member.size
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as stream:
            _copy(source, stream, member.size)


def _members(source: _Source) -> Iterator[tarfile.TarInfo]:
    """Yield the header of each file; whoever takes one reads its content and padding."""
    long_name, long_size = "", -1
    while True:
        block = source.read(BLOCK_BYTES)
        if block == bytes(BLOCK_BYTES):
            _require_end(source)
            return
        member = _header(block, source.name)
        if member.type in {tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME}:
            long_name, long_size = _extra(source, member)
            continue
        if long_name:
            member.name = long_name
        if long_size >= 0:
            member.size = long_size
        long_name, long_size = "", -1
        if member.type in FILES:
            yield member
        elif member.type != tarfile.DIRTYPE or member.size:
            raise InvalidArgumentError(
                f"{source.name}: '{member.name[:80]}' is a link, a device or no plain file: a "
                "bundle holds plain files only"
            )


def _header(block: bytes, source: str) -> tarfile.TarInfo:
    try:
        member = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.TarError, ValueError) as error:
        raise InvalidArgumentError(
            f"{source} is no tar archive of a bundle, or is damaged: {error}"
        ) from error
    if member.size < 0:
        raise InvalidArgumentError(f"{source}: '{member.name[:80]}' has {member.size} bytes")
    return member


def _extra(source: _Source, member: tarfile.TarInfo) -> tuple[str, int]:
    """Read the name, and the size, that an extra header gives to the file after it."""
    if member.size > MAX_HEADER_BYTES:
        raise InvalidArgumentError(
            f"{source.name}: a header has {member.size} bytes, at most {MAX_HEADER_BYTES}"
        )
    raw = source.read(_padded(member.size))[: member.size]
    try:
        if member.type == tarfile.GNUTYPE_LONGNAME:
            return raw.rstrip(b"\0").decode(), -1
        records = dict(_records(raw))
        size = int(records.get("size", "-1"))
    except (ValueError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{source.name}: a header is damaged") from error
    if any(key.startswith("GNU.sparse") or key == "linkpath" for key in records) or size < -1:
        raise InvalidArgumentError(
            f"{source.name} holds a sparse file or a link: a bundle holds plain files only"
        )
    return records.get("path", ""), size


def _records(raw: bytes) -> Iterator[tuple[str, str]]:
    """Yield the records of a pax header: `LENGTH KEY=VALUE` and a line's end each."""
    while raw:
        digits, _, _ = raw.partition(b" ")
        length = int(digits)
        record = raw[:length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if len(record) != length or not equals or record[-1:] != b"\n":
            raise ValueError("a record is cut off")
        yield key.decode(), value.decode()
        raw = raw[length:]


def _copy(source: _Source, stream: IO[bytes], size: int) -> None:
    left = size
    while left:
        left -= stream.write(source.read(min(left, CHUNK_BYTES)))
    source.read(_padded(size) - size)


def _require_end(source: _Source) -> None:
    """Nothing but zeros may follow: what no reader shows is not to be carried."""
    while chunk := source.read_some(CHUNK_BYTES):
        if chunk.strip(b"\0"):
            raise InvalidArgumentError(f"{source.name} holds more after its end: archive it again")


def _root(folder: Path) -> Path:
    """Return where the bundle is: at the top, or in the one folder there."""
    entries = list(folder.iterdir())
    if len(entries) == 1 and entries[0].is_dir():
        return entries[0]
    return folder


def _write(folder: Path, paths: list[str], stream: IO[bytes], *, is_compressed: bool) -> None:
    if not is_compressed:
        _write_tar(folder, paths, stream)
        return
    # No name and no time in gzip's header: equal bundles give equal archives.
    with gzip.GzipFile(filename="", fileobj=stream, mode="wb", mtime=0) as packed:
        _write_tar(folder, paths, cast("IO[bytes]", packed))


def _write_tar(folder: Path, paths: list[str], stream: IO[bytes]) -> None:
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in paths:
            member = tarfile.TarInfo(path)
            member.size = (folder / path).stat().st_size
            member.mode = 0o444
            with (folder / path).open("rb") as content:
                archive.addfile(member, content)


def _padded(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def _key(path: str) -> str:
    """Return what two names share that some file system takes for one."""
    return unicodedata.normalize("NFC", path).casefold()
