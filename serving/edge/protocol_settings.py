"""The protocol's trace and logging settings of this node.

Logging settings change the level of this process's log. Trace settings are kept and given back as
the protocol wants, and have no effect: Bascule writes no trace files, and says so by not listing
the extension in its metadata.
"""

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from runtimes.errors import InvalidArgumentError, UnsupportedError

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

    def __init__(self) -> None:
        """Start with Triton's defaults."""
        self._trace: dict[str, dict[str, TraceValue]] = {}
        self._log: dict[str, LogValue] = dict(LOG_DEFAULTS)

    def trace(self, model: str = "") -> dict[str, TraceValue]:
        """Return the trace settings of a model, or the global ones."""
        own = self._trace.get(model, {}) if model else {}
        return {**TRACE_DEFAULTS, **self._trace.get("", {}), **own}

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
                own[name] = value
        return self.trace(model)

    def logging(self) -> dict[str, LogValue]:
        """Return the logging settings."""
        return dict(self._log)

    def change_logging(self, changes: Mapping[str, object]) -> dict[str, LogValue]:
        """Change the settings that are named, and the level of this process's log.

        Raises:
            InvalidArgumentError: A value is none.
            UnsupportedError: The place of the log file was to change.
        """
        checked = {name: _checked_log(name, value) for name, value in changes.items()}
        self._log.update(checked)
        if checked:
            logging.getLogger().setLevel(self._level())
        return self.logging()

    def _level(self) -> int:
        if self._log["log_verbose_level"]:
            return logging.DEBUG
        if self._log["log_info"]:
            return logging.INFO
        return logging.WARNING if self._log["log_warning"] else logging.ERROR


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
        valid = isinstance(value, str) and _is_integer(value)
    if not valid:
        shown = value if isinstance(value, str) else ",".join(value)
        raise InvalidArgumentError(f"Unable to parse '{name}', got: {shown[:80]}")


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
