"""Spans of time as the parameters of a configuration write them: `90s`, `5m`, `6h`, `30d`."""

import re
from typing import Final

from runtimes.errors import InvalidArgumentError

_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_SPAN: Final = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([smhdw])")


def span_s(text: str, name: str) -> float:
    """Read a span that is longer than nothing, in seconds.

    Raises:
        InvalidArgumentError: It is none; `name` says of which parameter.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise InvalidArgumentError(
            f"parameters: {name} has the time '{text[:40]}': write a number and s, m, h, d or w, "
            "as in 30d"
        )
    return float(found[1]) * _UNITS_S[found[2]]
