"""Trace and logging settings as the protocol wants them."""

import logging
from collections.abc import Iterator

import pytest

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.edge.protocol_settings import LOG_DEFAULTS, TRACE_DEFAULTS, ProtocolSettings
from serving.logs import switches_of
from serving.monitor.diagnostics import TracePlan


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
    ("given", "kept"),
    [
        ("OFF", ("OFF",)),
        ("TIMESTAMPS", ("TIMESTAMPS",)),
        ((), ("OFF",)),
        (("TENSORS", "TIMESTAMPS", "TENSORS"), ("TENSORS", "TIMESTAMPS")),
    ],
    ids=str,
)
def test_a_level_is_told_as_an_array_of_names(
    given: str | tuple[str, ...], kept: tuple[str, ...]
) -> None:
    """However it was given."""
    settings = ProtocolSettings()
    assert settings.change_trace("", {"trace_level": given})["trace_level"] == kept
    assert settings.trace("m")["trace_level"] == kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trace_rate", "x"),
        ("trace_level", ("OFF", "TENSORS")),
        ("trace_level", ("LOUD",)),
        ("trace_mode", "none"),
        ("trace_rate", "-1"),
        ("trace_count", "-2"),
        ("log_frequency", "1.5"),
        ("trace_count", "-"),
        ("colour", "1"),
    ],
)
def test_a_trace_value_that_is_none_is_refused(name: str, value: str | tuple[str, ...]) -> None:
    """Nothing is changed by it."""
    settings = ProtocolSettings()
    with pytest.raises(InvalidArgumentError, match="Unable to parse"):
        settings.change_trace("", {name: value})
    assert settings.trace() == TRACE_DEFAULTS


def test_a_log_file_of_null_changes_nothing() -> None:
    """Clients that send every setting send this one as null."""
    assert ProtocolSettings().change_logging({"log_file": None}) == LOG_DEFAULTS


def test_settings_begin_with_what_the_operator_says() -> None:
    """The log level of the instance, and where its traces go."""
    settings = ProtocolSettings(switches_of("warning"), "/var/traces")

    assert settings.logging() == {**LOG_DEFAULTS, "log_info": False}
    assert settings.trace() == {**TRACE_DEFAULTS, "trace_file": "/var/traces"}
    assert settings.can_trace
    assert not ProtocolSettings().can_trace


def test_workers_are_told_what_to_trace() -> None:
    """Level TIMESTAMPS with a rate traces; a model's own settings count before the global ones."""
    settings = ProtocolSettings(trace_file="/t", tally="/n")
    settings.change_trace("", {"trace_level": ("TIMESTAMPS",), "trace_rate": "5"})
    settings.change_trace("off", {"trace_level": ("OFF",)})
    settings.change_trace("few", {"trace_count": "3"})
    settings.change_trace("never", {"trace_rate": "0"})

    told = settings.diagnostics()

    assert told.plan("any") == TracePlan(rate=5)
    assert told.plan("few") == TracePlan(rate=5, count=3, tally="/n1-3")
    assert told.plan("off") is None
    assert told.plan("never") is None


def test_every_change_of_a_trace_setting_counts_anew() -> None:
    """Asking for as many traces again gives as many again; reading changes nothing."""
    settings = ProtocolSettings(trace_file="/t", tally="/n")
    asked = {"trace_level": ("TIMESTAMPS",), "trace_count": "2"}
    plans = []
    for changes in (asked, {}, asked):
        settings.change_trace("", changes)
        plans.append(settings.diagnostics().plan("m"))

    assert plans[0] == plans[1] == TracePlan(rate=1000, count=2, tally="/n1-1")
    assert plans[2] == TracePlan(rate=1000, count=2, tally="/n2-2")


def test_without_a_file_nothing_is_traced() -> None:
    """The settings are kept and given back, and workers trace nothing."""
    settings = ProtocolSettings()
    settings.change_trace("", {"trace_level": ("TIMESTAMPS",)})

    assert settings.trace()["trace_level"] == ("TIMESTAMPS",)
    assert settings.diagnostics().plan("any") is None


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
