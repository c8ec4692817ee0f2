"""Bundles in one file: what goes in comes out, and nothing else ever does."""

import gzip
import io
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import BasculeError, InvalidArgumentError
from serving.errors import AlreadyExistsError, NotFoundError
from serving.registry.bundles.archive import extract_archive, opened_archive, write_archive
from serving.registry.bundles.bundle import Bundle, read_bundle
from serving.registry.bundles.keys import SigningKey
from serving.registry.bundles.signing import sign_bundle
from tests.fakes.bundles import make_bundle

KEY = SigningKey.new()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A signed bundle."""
    made = make_bundle(tmp_path / "made")
    sign_bundle(made.folder, KEY)
    return read_bundle(made.folder)


def tar(*members: tuple[str, bytes], **fields: object) -> bytes:
    """An archive of files, each with some fields of its header changed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for field, value in fields.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["m.tar", "m.tar.gz", "m.tgz"])
def test_what_goes_in_comes_out(tmp_path: Path, bundle: Bundle, name: str) -> None:
    """The extracted bundle is the bundle, with its signature."""
    write_archive(bundle.folder, tmp_path / name)

    with opened_archive(tmp_path / name, tmp_path) as folder:
        found = read_bundle(folder)
    assert (found.digest, found.signers) == (bundle.digest, bundle.signers)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "made"])


def test_equal_bundles_give_equal_archives(tmp_path: Path, bundle: Bundle) -> None:
    """Neither time nor owner nor place shows in an archive."""
    for name in ("a.tar.gz", "b.tar.gz"):
        write_archive(bundle.folder, tmp_path / name)

    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_an_ordinary_archive_of_the_folder_is_read(
    tmp_path: Path, bundle: Bundle, form: int
) -> None:
    """What `tar --create FOLDER` writes is a bundle, too; long names included."""
    file = tmp_path / "m.tar"
    with tarfile.open(file, "w", format=form) as archive:
        archive.add(bundle.folder, arcname="a-folder-of-that-name")

    with opened_archive(file, tmp_path) as folder:
        assert read_bundle(folder).digest == bundle.digest


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_read(tmp_path: Path, form: int) -> None:
    """A name of more than a hundred characters has a header of its own."""
    name = f"{'d' * 120}/{'ü' * 60}.bin"
    with tarfile.open(tmp_path / "m.tar", "w", format=form) as archive:
        member = tarfile.TarInfo(name)
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    (tmp_path / "out").mkdir()

    extract_archive(tmp_path / "m.tar", tmp_path / "out")

    assert (tmp_path / "out" / name).read_bytes() == b"x"


def test_an_archive_is_never_written_over(tmp_path: Path, bundle: Bundle) -> None:
    """A name that is taken, or that says nothing of tar, is refused."""
    (tmp_path / "m.tar").touch()

    with pytest.raises(AlreadyExistsError):
        write_archive(bundle.folder, tmp_path / "m.tar")
    with pytest.raises(InvalidArgumentError, match="must end in"):
        write_archive(bundle.folder, tmp_path / "m.zip")


def zipped() -> bytes:
    """A zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("manifest.json", "{}")
    return buffer.getvalue()


def bomb() -> bytes:
    """A file of zeros that compresses a thousand times."""
    return gzip.compress(tar(("zeros", bytes(32 << 20))), mtime=0)


def sparse() -> bytes:
    """A pax header that says that the next file is sparse."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("a")
        member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.name": "../out"}
        archive.addfile(member)
    return buffer.getvalue()


def huge_header() -> bytes:
    """A header for a long name that claims a gigabyte."""
    member = tarfile.TarInfo("x")
    member.type = tarfile.XHDTYPE
    member.size = 1 << 30
    return member.tobuf()


def declared(size: int) -> bytes:
    """A file that claims a size and is not there."""
    member = tarfile.TarInfo("x")
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)


HOSTILE = {
    "parent": (tar(("../x", b"")), "plain path"),
    "parent inside": (tar(("a/../../x", b"")), "plain path"),
    "absolute": (tar(("/etc/x", b"")), "plain path"),
    "backslash": (tar(("..\\x", b"")), "plain path"),
    "hidden": (tar((".ssh/x", b"")), "begin with"),
    "control": (tar(("a\nb", b"")), "plain path"),
    "link": (tar(("a", b""), type=tarfile.SYMTYPE, linkname="/etc/passwd"), "plain files only"),
    "hard link": (tar(("a", b""), type=tarfile.LNKTYPE, linkname="/etc/passwd"), "plain files"),
    "device": (tar(("a", b""), type=tarfile.CHRTYPE), "plain files only"),
    "pipe": (tar(("a", b""), type=tarfile.FIFOTYPE), "plain files only"),
    "old sparse": (tar(("a", b""), type=tarfile.GNUTYPE_SPARSE), "plain files only"),
    "sparse": (sparse(), "sparse"),
    "twice": (tar(("a", b"1"), ("a", b"2")), "collides"),
    "twice by a dot": (tar(("a", b"1"), ("./a", b"2")), "collides"),
    "case": (tar(("model", b"1"), ("MODEL", b"2")), "collides"),
    "composed": (tar(("\u00e9", b"1"), ("e\u0301", b"2")), "collides"),
    "file as folder": (tar(("a", b"1"), ("a/b", b"2")), "collides"),
    "folder as file": (tar(("a/b", b"1"), ("a", b"2")), "collides"),
    "too many": (tar(*((f"f{number}", b"") for number in range(10_003))), "more than 10002"),
    "huge": (declared(1 << 50), "are left"),
    "cut off": (declared(1000), "cut off"),
    "huge header": (huge_header(), "at most 65536"),
    "bomb": (bomb(), "bomb"),
    "zip": (zipped(), "zip archive"),
    "no archive": (b"hello" * 500, "no tar archive"),
    "empty": (b"", "cut off"),
    "after the end": (tar(("a", b"1")) + b"more", "after its end"),
    "half a gzip": (gzip.compress(tar(("a", b"1")))[:40], "cut off or damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused(tmp_path: Path, name: str) -> None:
    """Each is refused in one sentence, and nothing appears outside of the folder."""
    content, says = HOSTILE[name]
    (tmp_path / "m.tar").write_bytes(content)
    (tmp_path / "inner" / "out").mkdir(parents=True)

    with pytest.raises(InvalidArgumentError, match=says):
        extract_archive(tmp_path / "m.tar", tmp_path / "inner" / "out")
    assert [path.name for path in (tmp_path / "inner").iterdir()] == ["out"]


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    """A file that is not there is an error of ours."""
    with (
        pytest.raises(NotFoundError, match="cannot be extracted"),
        opened_archive(tmp_path / "m.tar", tmp_path),
    ):
        pass


def test_what_is_wrong_with_a_bundle_names_its_archive(tmp_path: Path) -> None:
    """The folder into which it was unpacked is gone when the message is read."""
    file = tmp_path / "m.tar"
    with tarfile.open(file, "w") as archive:
        archive.addfile(tarfile.TarInfo("model.echo"))

    with (
        pytest.raises(NotFoundError, match=rf"^{file} is no bundle: it holds no manifest.json$"),
        opened_archive(file, tmp_path) as folder,
    ):
        read_bundle(folder)


class Sound:
    """A folder with a signed bundle in it, and its archives."""

    def __init__(self, folder: Path) -> None:
        made = make_bundle(folder / "made")
        sign_bundle(made.folder, KEY)
        self.folder = folder
        self.digest = made.digest
        self.archives = {}
        for name in ("a.tar", "a.tgz"):
            write_archive(made.folder, folder / name)
            self.archives[name] = (folder / name).read_bytes()


@pytest.fixture(scope="module")
def sound() -> Iterator[Sound]:
    """One bundle for all examples of a property."""
    with tempfile.TemporaryDirectory() as name:
        yield Sound(Path(name))


def outcome(content: bytes, folder: Path) -> str:
    """Return the digest of the signed bundle in an archive, or nothing where it is refused."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        file = Path(name) / "m.tar"
        file.write_bytes(content)
        try:
            with opened_archive(file, Path(name)) as found:
                bundle = read_bundle(found)
        except BasculeError:
            return ""
        return bundle.digest if bundle.signers else "unsigned"


@given(
    position=st.integers(0, 1 << 20),
    value=st.integers(1, 255),
    name=st.sampled_from(["a.tar", "a.tgz"]),
)
def test_a_changed_byte_gives_the_bundle_or_nothing(
    sound: Sound, position: int, value: int, name: str
) -> None:
    """Whatever byte of an archive changes, no other bundle comes out of it."""
    changed = bytearray(sound.archives[name])
    changed[position % len(changed)] ^= value

    assert outcome(bytes(changed), sound.folder) in {"", sound.digest}


@given(
    name=st.text(st.characters(codec="utf-8"), max_size=30),
    kind=st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, b"7", b"x", b"L"]),
    content=st.binary(max_size=600),
)
def test_whatever_a_header_says_nothing_leaves_the_folder(
    sound: Sound, name: str, kind: bytes, content: bytes
) -> None:
    """Any name and kind of member is extracted inside of the folder, or refused."""
    with tempfile.TemporaryDirectory(dir=sound.folder) as folder:
        inner = Path(folder) / "inner" / "out"
        inner.mkdir(parents=True)
        file = Path(folder) / "m.tar"
        file.write_bytes(tar((name, content), type=kind))
        with suppress(BasculeError):
            extract_archive(file, inner)

        assert sorted(path.name for path in Path(folder).iterdir()) == ["inner", "m.tar"]
        assert [path.name for path in (Path(folder) / "inner").iterdir()] == ["out"]
