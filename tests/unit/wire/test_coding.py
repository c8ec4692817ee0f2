"""Compression of bodies: both codings, both ways, within the limit."""

import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtimes.errors import InvalidArgumentError
from serving.errors import UnsupportedCodingError
from serving.wire import coding


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50), max_size=4), st.sampled_from(["gzip", "deflate"]))
def test_round_trip(parts: list[bytes], name: str) -> None:
    """What deflate packs, inflate unpacks."""
    packed = coding.deflate(parts, name)

    assert coding.inflate(packed, name, 1000) == b"".join(parts)


def raw_deflate(content: bytes) -> bytes:
    """Pack without zlib's header."""
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(content) + stream.flush()


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("gzip", gzip.compress(b"abc")),
        (" GZIP ", gzip.compress(b"abc")),
        ("deflate", zlib.compress(b"abc")),
        ("deflate", raw_deflate(b"abc")),
    ],
    ids=["gzip", "upper case", "zlib", "raw deflate"],
)
def test_what_clients_send(name: str, packed: bytes) -> None:
    """gzip, zlib's deflate and raw deflate are read."""
    assert coding.inflate(packed, name, 3) == b"abc"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "nothing to be decompressed"),
        (b"no gzip", "encountered inconsistent stream state during decompression"),
        (gzip.compress(b"abc")[:-3], "encountered inconsistent stream state"),
        (gzip.compress(b"abc") + b"more", "encountered inconsistent stream state"),
        (gzip.compress(bytes(1 << 20)), "exceeds the maximum allowed value of 100 bytes"),
    ],
    ids=["empty", "garbage", "cut", "followed", "bomb"],
)
def test_bad_bodies(body: bytes, message: str) -> None:
    """Corrupt, cut and exploding bodies are the caller's error."""
    with pytest.raises(InvalidArgumentError) as caught:
        coding.inflate(body, "gzip", 100)

    assert message in caught.value.message


def test_unknown_coding() -> None:
    """A coding that we do not read is refused by name."""
    with pytest.raises(UnsupportedCodingError, match="Unsupported compression type"):
        coding.inflate(b"abc", "br", 100)


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("GZip", "gzip"),
        ("gzip;q=0.5", "gzip"),
        ("gzip; q=1", "gzip"),
        ("gzip;q=0", None),
        ("gzip; q=0.000", None),
        ("gzip, deflate", None),
        ("gzip, deflate, br", None),
        ("br", None),
        ("identity", None),
        ("*", None),
        ("", None),
    ],
)
def test_reply_coding(accepted: str, expected: str | None) -> None:
    """A reply is compressed only for a client that asks for one coding alone."""
    assert coding.reply_coding(accepted) == expected


@pytest.mark.parametrize(("name", "plain"), [("", True), ("Identity", True), ("gzip", False)])
def test_is_plain(name: str, plain: bool) -> None:  # noqa: FBT001  a test's parameter
    """No coding and `identity` mean: as it is."""
    assert coding.is_plain(name) is plain


def test_a_refused_bomb_leaves_no_memory_with_its_error() -> None:
    """An error may live long, and its traceback holds what its frames hold."""
    with pytest.raises(InvalidArgumentError) as caught:
        coding.inflate(gzip.compress(bytes(1 << 20)), "gzip", 1 << 19)

    frames = [entry.frame.f_locals for entry in caught.traceback if "wire" in str(entry.path)]
    held = [value for names in frames for value in names.values() if isinstance(value, bytes)]
    assert max(map(len, held)) < 1 << 16
