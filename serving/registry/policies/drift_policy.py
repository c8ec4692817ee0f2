"""How a model's rows are watched for drift, as its configuration wants it.

In `config.pbtxt`, among the parameters::

    parameters { key: "drift"              value { string_value: "off" } }
    parameters { key: "drift_learn_rows"   value { string_value: "5000" } }
    parameters { key: "drift_false_alarms" value { string_value: "1 per 30d" } }
    parameters { key: "drift_renotify"     value { string_value: "6h" } }

A model with a reference is watched unless it says `off`. One without learns from its first rows if
it says of how many. `drift_false_alarms` is a budget in time, from which the threshold follows by
the rate of rows; `0.05 per 10000 rows` is a probability, whatever the rate; what it does not say is
as the reference was calibrated.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import log1p
from typing import Final

from runtimes.errors import InvalidArgumentError
from serving.registry.policies.time_span import span_s

SWITCH: Final = "drift"
LEARN_ROWS: Final = "drift_learn_rows"
FALSE_ALARMS: Final = "drift_false_alarms"
RENOTIFY: Final = "drift_renotify"
PARAMETERS: Final = frozenset({SWITCH, LEARN_ROWS, FALSE_ALARMS, RENOTIFY})
MIN_LEARN_ROWS: Final = 500
MAX_LEARN_ROWS: Final = 20_000
_ROWS: Final = re.compile(r"[0-9]{1,15}")
_BUDGET: Final = re.compile(r"(\d{1,6}(?:\.\d{1,6})?) per (\S+)( rows)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftPolicy:
    """What a model's configuration says."""

    is_on: bool = True
    learn_rows: int | None = None
    """Rows that a reference is learnt from where there is none; 0: it is not; None: as the server
    says."""
    seconds_between: float | None = None
    """False alarms may come so often, on average; None: not said in time."""
    rows_between: float | None = None
    """The same in rows; None: not said in rows."""
    renotify_s: float | None = None
    """An alarm that lasts is told again after so long; None: the default."""


DEFAULT_DRIFT: Final = DriftPolicy()


def drift_policy(given: Mapping[str, str]) -> DriftPolicy:
    """Read a configuration's parameters.

    Args:
        given: Its parameters, as texts.

    Raises:
        InvalidArgumentError: A value is none of those that exist.
    """
    seconds, rows = _budget(given[FALSE_ALARMS]) if FALSE_ALARMS in given else (None, None)
    return DriftPolicy(
        is_on=_is_on(given.get(SWITCH, "on")),
        learn_rows=_learn_rows(given[LEARN_ROWS]) if LEARN_ROWS in given else None,
        seconds_between=seconds,
        rows_between=rows,
        renotify_s=span_s(given[RENOTIFY], RENOTIFY) if RENOTIFY in given else None,
    )


def _is_on(text: str) -> bool:
    if text not in {"on", "off"}:
        raise InvalidArgumentError(f"parameters: {SWITCH} is '{text[:40]}': write on or off")
    return text == "on"


def _learn_rows(text: str) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) < 10  # noqa: PLR2004  no overflow
    rows = int(text) if is_number else -1
    if rows and not MIN_LEARN_ROWS <= rows <= MAX_LEARN_ROWS:
        raise InvalidArgumentError(
            f"parameters: {LEARN_ROWS} is '{text[:40]}': a number from {MIN_LEARN_ROWS} to "
            f"{MAX_LEARN_ROWS} is expected, or 0 for none"
        )
    return rows


def _budget(text: str) -> tuple[float | None, float | None]:
    """Return seconds, or rows, between two false alarms."""
    found = _BUDGET.fullmatch(text.strip())
    count = float(found[1]) if found else 0.0
    if found is None or not count:
        raise InvalidArgumentError(
            f"parameters: {FALSE_ALARMS} is '{text[:40]}': write 1 per 30d, or 0.05 per 10000 rows"
        )
    if not found[3]:
        return span_s(found[2], FALSE_ALARMS) / count, None
    rows = int(found[2]) if _ROWS.fullmatch(found[2]) else 0
    if not rows or not count < 1:
        raise InvalidArgumentError(
            f"parameters: {FALSE_ALARMS} is '{text[:40]}': a probability below 1 and a number of "
            "rows are expected, as in 0.05 per 10000 rows"
        )
    return None, rows / -log1p(-count)
