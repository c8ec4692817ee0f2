"""One JSON line per event, ours and the libraries' alike. The fast path does not log."""

import logging
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TextIO

import structlog


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSwitches:
    """Which records are written, in the protocol's words."""

    info: bool = True
    warning: bool = True
    error: bool = True
    verbose_level: int = 0
    """From 1 on, debug records are written as well."""

    def allows(self, level: int) -> bool:
        """Whether records of a level of `logging` are written."""
        if level < logging.INFO:
            return self.verbose_level > 0
        if level < logging.WARNING:
            return self.info
        return self.warning if level < logging.ERROR else self.error


EVERYTHING: Final = LogSwitches()
"""All but debug records."""


class _Switched(logging.Filter):
    """Lets through what the switches allow."""

    def __init__(self, switches: LogSwitches) -> None:
        super().__init__()
        self._switches = switches

    def filter(self, record: logging.LogRecord) -> bool:
        return self._switches.allows(record.levelno)


class _Teller(logging.StreamHandler[TextIO]):
    """Says once that records are lost, in place of a traceback for each: a disk may be full."""

    _has_told = False

    def flush(self) -> None:
        """Write what was kept; it may be possible again."""
        super().flush()
        self._has_told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Tell whoever sees standard error; a fault of our own has its traceback."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._has_told:
            self._has_told = True
            name = getattr(self.stream, "name", "?")
            with suppress(OSError):  # it may be the same file
                sys.stderr.write(
                    f"the log {name} cannot be written ({error.strerror or error}): lines are lost "
                    "until it can\n"
                )


def switches_of(level: str) -> LogSwitches:
    """Return what a level of the settings means."""
    order = ("debug", "info", "warning", "error").index(level)
    return LogSwitches(info=order <= 1, warning=order <= 2, verbose_level=int(order == 0))  # noqa: PLR2004  places in the order


def apply_switches(switches: LogSwitches) -> None:
    """Write from now on what the switches allow, and nothing else, in this process."""
    root = logging.getLogger()
    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
    root.setLevel(next((one for one in levels if switches.allows(one)), logging.CRITICAL + 1))
    for handler in root.handlers:
        for known in [one for one in handler.filters if isinstance(one, _Switched)]:
            handler.removeFilter(known)
        handler.addFilter(_Switched(switches))


def configure_logs(level: str, stream: TextIO | None = None) -> None:
    """Send every record of this process to `stream` (stderr by default) as one JSON line."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    handler = _Teller(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    apply_switches(switches_of(level))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
