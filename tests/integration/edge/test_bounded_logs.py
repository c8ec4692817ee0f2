"""Logs are bounded while their processes write, and their last lines are always there."""

import asyncio
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec
import pytest
import structlog

from serving.edge import bounded_logs
from serving.edge.bounded_logs import SECTOR_BYTES, drop_front, keep_bounded
from serving.standalone.log_copying import FollowedLogs
from tests.fakes.waiting import while_others_work

KEPT_BYTES: Final = 1 << 20
COUNT: Final = 300_000
WRITER: Final = f"""
import fcntl, os, sys
fcntl.fcntl(2, fcntl.F_SETFL, 0)  # as HAProxy does, in effect: it appends no more
sys.stdin.readline()
for number in range({COUNT}):
    sys.stderr.write(f'{{{{"event": {{number}}}}}}\\n')
"""


def numbers(lines: list[bytes]) -> list[int]:
    """Return the numbers of a log's lines."""
    return [msgspec.json.decode(line)["event"] for line in lines]


def disk_bytes(path: Path) -> int:
    """What a file takes."""
    return path.stat().st_blocks * SECTOR_BYTES


def test_a_log_is_bounded_while_it_is_written_and_followed(tmp_path: Path) -> None:
    """Whoever follows it gets every line; the last ones are in the file, without a gap."""
    path, got, dropped_bytes = tmp_path / "w.log", bytearray(), 0
    with path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stderr=log
        )
    with process, closing(FollowedLogs(tmp_path, got.extend)) as followed:
        assert process.stdin is not None
        process.stdin.close()
        while process.poll() is None:
            followed.copy()
            dropped_bytes += drop_front(path, KEPT_BYTES)
        followed.copy()
        dropped_bytes += drop_front(path, KEPT_BYTES)
    left = path.read_bytes().lstrip(b"\0").splitlines()[1:]  # the first may be a part of one

    assert dropped_bytes
    assert disk_bytes(path) <= 2 * KEPT_BYTES
    assert numbers(bytes(got).splitlines()) == list(range(COUNT))
    assert numbers(left) == list(range(COUNT))[-len(left) :]
    assert len(b"".join(left)) > KEPT_BYTES // 2


def test_who_follows_too_late_is_told_no_zeros(tmp_path: Path) -> None:
    """What was dropped before they came to it is not there; the rest is."""
    path, got = tmp_path / "w.log", bytearray()
    with closing(FollowedLogs(tmp_path, got.extend)) as followed:
        path.touch()
        followed.copy()
        path.write_bytes(b"".join(b'{"event": %d}\n' % number for number in range(COUNT)))
        assert drop_front(path, KEPT_BYTES)
        followed.copy()

    _, *told = bytes(got).splitlines()  # the first may be a part of one
    assert b"u0000" not in got
    assert numbers(told) == list(range(COUNT))[-len(told) :]


def test_a_small_log_and_one_that_goes_elsewhere_stay(tmp_path: Path) -> None:
    """Nothing is dropped of them."""
    path, elsewhere = tmp_path / "w.log", tmp_path / "elsewhere.log"
    path.write_bytes(b"." * KEPT_BYTES)
    (tmp_path / "large").write_bytes(b"." * 4 * KEPT_BYTES)
    elsewhere.symlink_to("large")

    assert [drop_front(log, KEPT_BYTES) for log in (path, elsewhere)] == [0, 0]


def test_what_cannot_be_bounded_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was dropped of others is told each time."""
    monkeypatch.setattr(bounded_logs, "LOOK_S", 0.0)
    stuck, good = tmp_path / "a.log", tmp_path / "b.log"
    stuck.write_bytes(os.urandom(4 * KEPT_BYTES))
    punch = bounded_logs._punch  # noqa: SLF001  a file system that cannot is hard to come by

    def refuse(fd: int, end: int) -> None:
        if os.fstat(fd).st_ino == stuck.stat().st_ino:
            raise OSError(95, "Operation not supported")
        punch(fd, end)

    monkeypatch.setattr(bounded_logs, "_punch", refuse)

    async def scenario() -> None:
        keeping = asyncio.ensure_future(keep_bounded(tmp_path, KEPT_BYTES))
        for _ in range(2):
            good.write_bytes(os.urandom(4 * KEPT_BYTES))
            await while_others_work(lambda: disk_bytes(good) <= 2 * KEPT_BYTES, "it is bounded")
        keeping.cancel()
        await asyncio.wait((keeping,))

    with structlog.testing.capture_logs() as told:
        asyncio.run(scenario())
    warned = [line for line in told if line["event"] == "log_not_bounded"]
    assert [(line["path"], line["reason"]) for line in warned] == [
        (str(stuck), "Operation not supported")
    ]
    assert {line["path"] for line in told if "dropped_bytes" in line} == {str(good)}
