"""Logs that are copied: every line once, as JSON, with the process that it is of."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from serving.standalone.log_copying import MAX_LINE_BYTES, FollowedLogs, as_json


class Reader:
    """What standard error got."""

    def __init__(self) -> None:
        self.got = b""

    def write(self, lines: bytes) -> None:
        """Take lines."""
        self.got += lines

    def lines(self) -> list[dict[str, Any]]:
        """Take what came since, parsed."""
        found = [json.loads(line) for line in self.got.splitlines()]
        self.got = b""
        return found


@pytest.fixture
def reader() -> Reader:
    """Nothing has come yet."""
    return Reader()


def append(path: Path, text: str) -> None:
    """Write as a process does: at the end."""
    with path.open("a") as file:
        file.write(text)


@pytest.fixture
def followed(tmp_path: Path, reader: Reader) -> Iterator[FollowedLogs]:
    """Whoever follows a folder that is empty yet."""
    with closing(FollowedLogs(tmp_path, reader.write)) as logs:
        yield logs


def test_only_what_comes_later_is_copied(tmp_path: Path, reader: Reader) -> None:
    """What files hold already is of an earlier instance; files that come later are read whole."""
    old = tmp_path / "bascule.log"
    append(old, '{"event": "before"}\n')
    with closing(FollowedLogs(tmp_path, reader.write)) as followed:
        append(old, '{"event": "a"}\n{"event"')
        append(tmp_path / "s1-0.log", '{"event": "b", "level": "info"}\n')
        followed.copy()
        assert reader.lines() == [
            {"process": "bascule", "event": "a"},
            {"process": "s1-0", "event": "b", "level": "info"},
        ]

        append(old, ': "c"}\n')
        followed.copy()
        followed.copy()
        assert reader.lines() == [{"process": "bascule", "event": "c"}]


def test_a_log_that_was_put_aside_is_read_to_its_end(
    tmp_path: Path, reader: Reader, followed: FollowedLogs
) -> None:
    """And then the new one from its beginning; so is one that somebody emptied."""
    log = tmp_path / "s1-0.log"
    append(log, '{"event": "first"}\n')
    followed.copy()

    append(log, '{"event": "last words"}\nSegmentation fault')
    log.rename(tmp_path / "s1-0.log.1")
    append(log, '{"event": "of the next one"}\n')
    followed.copy()
    assert [line["event"] for line in reader.lines()] == [
        "first",
        "last words",
        "Segmentation fault",
        "of the next one",
    ]

    log.write_text('{"event": 1}\n')
    followed.copy()
    assert [line["event"] for line in reader.lines()] == [1]


def test_the_end_of_a_log_needs_no_end_of_line(
    tmp_path: Path, reader: Reader, followed: FollowedLogs
) -> None:
    """What a process said last, as it died, is told."""
    append(tmp_path / "s1-0.log", "terminate called")
    followed.copy()
    assert reader.lines() == []
    followed.close()
    assert reader.lines() == [{"process": "s1-0", "event": "terminate called"}]


def test_a_line_without_end_takes_no_memory_without_end(
    tmp_path: Path, reader: Reader, followed: FollowedLogs
) -> None:
    """It is copied in pieces, none of which is lost."""
    long = "x" * (3 * MAX_LINE_BYTES)
    append(tmp_path / "s1-0.log", long + "\n")
    followed.copy()
    pieces = [line["event"] for line in reader.lines()]
    assert "".join(pieces) == long
    assert max(map(len, pieces)) <= 2 * MAX_LINE_BYTES


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"[NOTICE] (7) : started", "[NOTICE] (7) : started"),
        (b'{"event": "cut', '{"event": "cut'),
        (b"17", "17"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_text_is_the_event_of_a_line_of_json(line: bytes, event: str) -> None:
    """HAProxy, engines and a crash write text: whoever reads the logs reads JSON only."""
    assert json.loads(as_json("haproxy", line)) == {"process": "haproxy", "event": event}


def test_slots_that_nobody_used_are_not_told_of(
    tmp_path: Path, reader: Reader, followed: FollowedLogs
) -> None:
    """HAProxy tells of hundreds as it ends; of one that had calls it is told."""
    append(
        tmp_path / "haproxy.log",
        "[WARNING]  (7) : Proxy s0001 stopped (cumulated conns: FE: 0, BE: 0).\n"
        "[WARNING]  (7) : Proxy s0000 stopped (cumulated conns: FE: 0, BE: 1).\n",
    )
    followed.copy()
    assert ["s0000" in line["event"] for line in reader.lines()] == [True]
