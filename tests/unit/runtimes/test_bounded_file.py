"""Files that people name: small ones are read whole, others take no memory."""

import tracemalloc
from pathlib import Path

import pytest

from runtimes.bounded_file import read_bounded, read_bounded_text
from runtimes.errors import InvalidArgumentError

ENDLESS = Path("/dev/zero")


def test_up_to_the_limit_a_file_is_read_whole(tmp_path: Path) -> None:
    """One byte more is too many, also where the size is not known before."""
    file = tmp_path / "f"
    file.write_bytes(b"abcd")
    assert read_bounded(file, 4) == b"abcd"
    with pytest.raises(InvalidArgumentError, match="f has more than 3 bytes"):
        read_bounded(file, 3)
    with pytest.raises(InvalidArgumentError, match="more than 5000000 bytes"):
        read_bounded(ENDLESS, 5_000_000)
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "gone", 1)


def test_lines_end_as_in_any_text_file(tmp_path: Path) -> None:
    """However the program that wrote them ends lines."""
    file = tmp_path / "f"
    file.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_bounded_text(file, 100, "utf-8-sig") == "a\nb\nc\n"


def test_a_file_that_says_how_large_it_is_takes_no_memory(tmp_path: Path) -> None:
    """Its size is known before anything of it is read."""
    file = tmp_path / "f"
    with file.open("wb") as stream:
        stream.truncate(1 << 40)
    tracemalloc.start()
    with pytest.raises(InvalidArgumentError, match="more than 104857600 bytes"):
        read_bounded(file, 100 << 20)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
