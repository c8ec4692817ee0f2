"""Which records are written, level by level."""

import errno
import io
import logging
from collections.abc import Iterator

import pytest

from serving.logs import LogSwitches, apply_switches, configure_logs, switches_of

LEVELS = ("debug", "info", "warning", "error")


@pytest.fixture(name="written")
def log_stream() -> Iterator[io.StringIO]:
    """A log of this test's own."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    stream = io.StringIO()
    configure_logs("info", stream)
    yield stream
    root.handlers, root.level = handlers, level


@pytest.mark.parametrize(
    ("switches", "words"),
    [
        (LogSwitches(), ["info", "warning", "error"]),
        (LogSwitches(verbose_level=1), ["debug", "info", "warning", "error"]),
        (LogSwitches(info=False), ["warning", "error"]),
        (LogSwitches(warning=False), ["info", "error"]),
        (LogSwitches(info=False, warning=False, error=False), []),
        (switches_of("debug"), ["debug", "info", "warning", "error"]),
        (switches_of("warning"), ["warning", "error"]),
        (switches_of("error"), ["error"]),
    ],
)
def test_each_level_has_its_switch(
    written: io.StringIO, switches: LogSwitches, words: list[str]
) -> None:
    """What is off is not written, whatever is on above and below it."""
    apply_switches(LogSwitches(error=False))
    apply_switches(switches)

    logger = logging.getLogger("test")
    for level in LEVELS:
        getattr(logger, level)("word-%s", level)

    assert [level for level in LEVELS if f"word-{level}" in written.getvalue()] == words


class FullDisk(io.StringIO):
    """A log on a disk that has room again and again."""

    name = "bascule.log"
    is_full = False

    def flush(self) -> None:
        """Refuse as a full disk does."""
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_that_cannot_be_written_is_told_once(
    written: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each time that it begins, in a sentence: every line had a traceback on the terminal."""
    stream = FullDisk()
    configure_logs("info", stream)
    log = logging.getLogger("bascule.test")
    for is_full in (False, True, True, False, True):
        stream.is_full = is_full
        log.warning("something")
    told = "the log bascule.log cannot be written (No space left on device): lines are lost"
    assert capsys.readouterr().err == f"{told} until it can\n" * 2
    assert not written.getvalue()


def test_a_record_that_cannot_be_formatted_is_a_fault(
    written: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has its traceback: nobody foresaw it."""
    logging.getLogger("bascule.test").warning("%d", "no number")
    assert "Traceback" in capsys.readouterr().err
    assert not written.getvalue()
