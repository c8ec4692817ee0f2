"""The protocol's trace and logging settings of this node.

==========================  ===================================================================
`log_info`, `log_warning`,  which records this process and the node's workers write
`log_error`
`log_verbose_level`         from 1 on, debug records as well
`log_format`                kept and given back: every record is a line of JSON
`trace_level`               TIMESTAMPS: calls are traced, if the server has a trace file
`trace_rate`                one of so many calls of a model, in each worker
`trace_count`               so many traces at most, of all workers together; it begins anew with
                            every change of the trace settings
`log_frequency`             kept and given back: all traces go into one file
`trace_mode`                kept and given back; only mode triton traces
==========================  ===================================================================

Level TENSORS is kept and traces nothing. Without a trace file (`--trace-file`) nothing is traced,
and server metadata does not list the extension.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.logs import EVERYTHING, LogSwitches, apply_switches
from serving.monitor.diagnostics import Diagnostics, TracePlan

TraceValue = str | tuple[str, ...]
LogValue = str | bool | int

TRACE_DEFAULTS: Final[Mapping[str, TraceValue]] = MappingProxyType(
    {
        "trace_level": ("OFF",),
        "trace_rate": "1000",
        "trace_count": "-1",
        "log_frequency": "0",
        "trace_file": "",
        "trace_mode": "triton",
    }
)
TRACE_LEVELS: Final = frozenset({"OFF", "TIMESTAMPS", "TENSORS"})
TRACE_MODES: Final = frozenset({"triton", "opentelemetry"})
LEAST: Final = MappingProxyType({"trace_rate": 0, "trace_count": -1, "log_frequency": 0})
LOG_DEFAULTS: Final[Mapping[str, LogValue]] = MappingProxyType(
    {
        "log_file": "",
        "log_info": True,
        "log_warning": True,
        "log_error": True,
        "log_verbose_level": 0,
        "log_format": "default",
    }
)
LOG_FORMATS: Final = frozenset({"default", "ISO8601"})


class ProtocolSettings:
    """Settings as clients last left them."""

    def __init__(
        self, switches: LogSwitches = EVERYTHING, trace_file: str = "", tally: str = ""
    ) -> None:
        """Start with Triton's defaults, and what the operator says.

        Args:
            switches: What is logged at the start.
            trace_file: Where traces go; empty: nowhere.
            tally: How the paths begin of the files by which workers count their traces.
        """
        self._defaults = {**TRACE_DEFAULTS, "trace_file": trace_file}
        self._trace: dict[str, dict[str, TraceValue]] = {}
        self._tally = tally
        self._change_count = 0
        self._changed_at = {"": 0}
        self._log: dict[str, LogValue] = {
            **LOG_DEFAULTS,
            "log_info": switches.info,
            "log_warning": switches.warning,
            "log_error": switches.error,
            "log_verbose_level": switches.verbose_level,
        }

    @property
    def can_trace(self) -> bool:
        """Whether traces go anywhere."""
        return bool(self._defaults["trace_file"])

    def diagnostics(self) -> Diagnostics:
        """Return what the node's processes have to know."""
        return Diagnostics(
            switches=self._switches(),
            trace_file=str(self._defaults["trace_file"]),
            trace=self._plan(""),
            models={model: self._plan(model) for model in self._trace if model},
        )

    def trace(self, model: str = "") -> dict[str, TraceValue]:
        """Return the trace settings of a model, or the global ones."""
        own = self._trace.get(model, {}) if model else {}
        return {**self._defaults, **self._trace.get("", {}), **own}

    def change_trace(
        self, model: str, changes: Mapping[str, TraceValue | None]
    ) -> dict[str, TraceValue]:
        """Change the settings that are named; None goes back to the global or default one.

        Raises:
            InvalidArgumentError: A value is none.
            UnsupportedError: The place of the trace file was to change.
        """
        for name, value in changes.items():
            _check_trace(name, value)
        own = self._trace.setdefault(model, {})
        for name, value in changes.items():
            if value is None:
                own.pop(name, None)
            else:
                own[name] = _levels(value) if name == "trace_level" else value
        if changes:
            self._change_count += 1
            self._changed_at[model] = self._change_count
        return self.trace(model)

    def logging(self) -> dict[str, LogValue]:
        """Return the logging settings."""
        return dict(self._log)

    def change_logging(self, changes: Mapping[str, object]) -> dict[str, LogValue]:
        """Change the settings that are named, and what this process logs.

        Raises:
            InvalidArgumentError: A value is none.
            UnsupportedError: The place of the log file was to change.
        """
        checked = {
            name: _checked_log(name, value)
            for name, value in changes.items()
            if name != "log_file" or value is not None
        }
        self._log.update(checked)
        if checked:
            apply_switches(self._switches())
        return self.logging()

    def _plan(self, model: str) -> TracePlan | None:
        """Return which calls are traced; None: none."""
        settings = self.trace(model)
        rate, count = int(str(settings["trace_rate"])), int(str(settings["trace_count"]))
        is_on = "TIMESTAMPS" in settings["trace_level"] and settings["trace_mode"] == "triton"
        if not is_on or rate <= 0:
            return None
        if count <= 0:
            return TracePlan(rate=rate, count=count)
        turns = f"{self._changed_at['']}-{self._changed_at.get(model, 0)}"
        return TracePlan(rate=rate, count=count, tally=f"{self._tally}{turns}")

    def _switches(self) -> LogSwitches:
        return LogSwitches(
            info=bool(self._log["log_info"]),
            warning=bool(self._log["log_warning"]),
            error=bool(self._log["log_error"]),
            verbose_level=int(self._log["log_verbose_level"]),
        )


def _check_trace(name: str, value: TraceValue | None) -> None:
    if name == "trace_file":
        raise UnsupportedError("trace file location can not be updated through network protocol")
    if name not in TRACE_DEFAULTS:
        raise InvalidArgumentError(f"Unable to parse trace settings, got unknown setting '{name}'")
    if value is None:
        return
    if name == "trace_level":
        levels = set(value) if isinstance(value, tuple) else {value}
        valid = levels <= TRACE_LEVELS and (len(levels) == 1 or "OFF" not in levels)
    elif name == "trace_mode":
        valid = value in TRACE_MODES
    else:
        valid = isinstance(value, str) and _is_integer(value) and int(value) >= LEAST[name]
    if not valid:
        shown = value if isinstance(value, str) else ",".join(value)
        raise InvalidArgumentError(f"Unable to parse '{name}', got: {shown[:80]}")


def _levels(value: TraceValue) -> tuple[str, ...]:
    """Return levels as the protocol tells them: an array of names, OFF if there is none."""
    named = (value,) if isinstance(value, str) else value
    return tuple(dict.fromkeys(named)) or ("OFF",)


def _checked_log(name: str, value: object) -> LogValue:
    if name == "log_file":
        raise UnsupportedError("log file location can not be updated through network protocol")
    if name not in LOG_DEFAULTS:
        raise InvalidArgumentError(f"unrecognized log setting '{name[:80]}'")
    if name == "log_format" and isinstance(value, str) and value in LOG_FORMATS:
        return value
    if name == "log_verbose_level" and type(value) is int and 0 <= value < 2**32:
        return value
    if name in ("log_info", "log_warning", "log_error") and isinstance(value, bool):
        return value
    raise InvalidArgumentError(f"Unable to parse '{name}', got: {str(value)[:80]}")


def _is_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19  # noqa: PLR2004  64 bits
