"""Pure: how old is what a request describes, and is that within its contract?"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

import numpy as np

from runtimes.contract import Array
from serving.monitor.quality.verdict import SHOWN_ROWS, Missing, Violation
from serving.monitor.quality.watch import Findings
from serving.registry.contracts.data_contract import (
    EVENT_TIME,
    Check,
    DataContract,
    EventTime,
    MissingKind,
    action_in,
)


class EventWatch:
    """The rules about the time of an event."""

    def __init__(self, time: EventTime, contract: DataContract) -> None:
        """Take the rules."""
        self._time = time
        self._contract = contract

    @property
    def input(self) -> str:
        """The input that says it; empty: a parameter does."""
        return self._time.input

    def look(
        self,
        array: Array | None,
        parameters: Mapping[str, object] | None,
        now_s: float,
        found: Findings,
    ) -> None:
        """Judge a request.

        Args:
            array: The input that says the time; None: it was left out, or there is none.
            parameters: The request's own.
            now_s: Seconds since 1970.
            found: What was found so far.
        """
        rows = found.rows
        unreadable = np.zeros(rows, bool)
        if self._time.input:
            lags = self._lags(array, rows, now_s)
        else:
            told = (parameters or {}).get(self._time.parameter)
            event_s = None if told is None else seconds_of(told, self._time.unit_s)
            lags = np.full(rows, np.nan if event_s is None else now_s - event_s)
            unreadable |= told is not None and event_s is None
        absent = np.isnan(lags) & ~unreadable
        if absent.any():
            count = int(np.count_nonzero(absent))
            found.missing.append(Missing(name=EVENT_TIME, kind=MissingKind.ABSENT, count=count))
            found.null_rows[EVENT_TIME] = count
        if not np.isnan(lags).all():
            found.lag_s = float(np.nanmax(lags))
        self._break({Check.FORMAT: unreadable, Check.ABSENT: absent}, lags, found)

    def _lags(self, array: Array | None, rows: int, now_s: float) -> Array:
        if array is None or not array.size:
            return np.full(rows, np.nan)
        events_s = array.reshape(rows, -1).astype(np.float64) * self._time.unit_s
        events_s[~np.isfinite(events_s)] = np.nan
        oldest: Array = now_s - events_s.min(axis=1)
        return oldest

    def _break(self, said: Mapping[Check, Array], lags: Array, found: Findings) -> None:
        for rule in self._time.rules:
            bad = said.get(rule.check)
            if bad is None:
                bad = lags > rule.limit if rule.check is Check.MAX_LAG else lags < -rule.limit
            if not bad.any():
                continue
            found.bad_rows |= bad
            rows = np.flatnonzero(bad)
            value = ""
            if self._contract.echo_values and rule.check in {Check.MAX_LAG, Check.MAX_FUTURE}:
                value = f"{lags[rows[0]]:.3f} s"
            found.violations.append(
                Violation(
                    name=EVENT_TIME,
                    tensor=self._time.input or self._time.parameter,
                    rule=rule,
                    action=action_in(self._contract, rule),
                    row_count=len(rows),
                    rows=tuple(rows[:SHOWN_ROWS].tolist()),
                    value=value,
                )
            )


def seconds_of(told: object, unit_s: float) -> float | None:
    """Read a time: a number in the contract's unit, or ISO 8601 (UTC unless it says otherwise).

    Returns:
        Seconds since 1970; None: nobody can read it.
    """
    if isinstance(told, bool):
        return None
    if isinstance(told, int | float):
        return _scaled(told, unit_s)
    text = str(told).strip()
    if text.isascii() and "_" not in text:  # what Python's own numbers may be, times are not
        with suppress(ValueError):
            return _scaled(float(text), unit_s)
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _scaled(count: float, unit_s: float) -> float | None:
    try:
        seconds = float(count) * unit_s
    except OverflowError:  # an integer of hundreds of digits
        return None
    return seconds if np.isfinite(seconds) else None
