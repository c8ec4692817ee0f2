"""Trace and logging settings as the protocol wants them."""

import logging
from collections.abc import Iterator

import pytest

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.edge.protocol_settings import LOG_DEFAULTS, TRACE_DEFAULTS, ProtocolSettings


@pytest.fixture
def log_level() -> Iterator[None]:
    """Put the process's log level back."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


def test_a_subset_changes_only_that_subset() -> None:
    """Everything else stays at its default."""
    changed = ProtocolSettings().change_trace("", {"trace_rate": "5"})
    assert changed == {**TRACE_DEFAULTS, "trace_rate": "5"}


def test_a_models_settings_are_its_own_over_the_global_ones() -> None:
    """A cleared one goes back to the global one."""
    settings = ProtocolSettings()
    settings.change_trace("", {"trace_rate": "5"})
    settings.change_trace("m", {"trace_rate": "9", "trace_count": "3"})
    cleared = settings.change_trace("m", {"trace_rate": None})
    assert (cleared["trace_rate"], cleared["trace_count"]) == ("5", "3")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trace_rate", "x"),
        ("trace_level", ("OFF", "TENSORS")),
        ("trace_level", ("LOUD",)),
        ("trace_mode", "none"),
        ("colour", "1"),
    ],
)
def test_a_trace_value_that_is_none_is_refused(name: str, value: str | tuple[str, ...]) -> None:
    """Nothing is changed by it."""
    settings = ProtocolSettings()
    with pytest.raises(InvalidArgumentError, match="Unable to parse"):
        settings.change_trace("", {name: value})
    assert settings.trace() == TRACE_DEFAULTS


def test_files_cannot_be_moved_from_outside() -> None:
    """Neither the trace file nor the log file."""
    with pytest.raises(UnsupportedError, match="trace file location can not be updated"):
        ProtocolSettings().change_trace("", {"trace_file": "/x"})
    with pytest.raises(UnsupportedError, match="log file location can not be updated"):
        ProtocolSettings().change_logging({"log_file": "/x"})


@pytest.mark.usefixtures("log_level")
def test_logging_settings_change_the_level() -> None:
    """Verbose is debug; without info, warnings are left."""
    settings = ProtocolSettings()
    settings.change_logging({"log_verbose_level": 1})
    verbose = logging.getLogger().level
    changed = settings.change_logging({"log_verbose_level": 0, "log_info": False})
    assert (verbose, logging.getLogger().level) == (logging.DEBUG, logging.WARNING)
    assert changed == {**LOG_DEFAULTS, "log_info": False}


@pytest.mark.parametrize(
    ("name", "value"),
    [("log_info", 1), ("log_verbose_level", -1), ("log_verbose_level", True), ("x", 1)],
)
def test_a_logging_value_of_another_type_is_refused(name: str, value: object) -> None:
    """The message quotes it."""
    with pytest.raises(InvalidArgumentError, match=name):
        ProtocolSettings().change_logging({name: value})
