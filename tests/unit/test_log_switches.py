"""Which records are written, level by level."""

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
