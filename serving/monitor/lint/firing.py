"""Pure: can an expression be true, and can it be false? As far as its bounds are known."""

from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Final

from serving.monitor.lint.promql import COMPARISONS, Token, closing, selectors_of

SWITCHES: Final = frozenset(
    {"up", "bascule_ready", "bascule_version_ready", "bascule_drift_failed"}
)
RATIO_ENDS: Final = (
    "_ratio",
    "_rate",
    "_utilization",
    "_alarm",
    "_drop",
    "_accuracy",
    "_throttled",
)
FAITHFUL: Final = frozenset(
    {"max", "min", "avg", "max_over_time", "min_over_time", "avg_over_time", "last_over_time"}
)
"""What they give lies between the values that they are given."""
RISING: Final = frozenset({"rate", "irate", "increase", "sum", "count", "sum_over_time", "abs"})
"""What they give is not below 0, and has no upper end."""
FLIPPED: Final = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "==", "!=": "!="}


@dataclass(frozen=True, slots=True)
class Firing:
    """What is known of an alert's expression."""

    never: bool = False
    always: bool = False


UNKNOWN: Final = Firing()


def firing_of(tokens: list[Token]) -> Firing:
    """Say whether an expression can never, or must always, give something.

    `or` fires where one side does, `and` where both do; of `unless` the left side says whether it
    can. A comparison with a number is judged by the bounds of the metric.
    """
    inner = _unwrapped(tokens)
    for word in ("or", "and", "unless"):
        parts = _split(inner, word)
        if len(parts) > 1:
            judged = [firing_of(part) for part in parts]
            return _joined(word, judged)
    return _compared(inner)


def _joined(word: str, judged: list[Firing]) -> Firing:
    nevers, always = [one.never for one in judged], [one.always for one in judged]
    if word == "or":
        return Firing(never=all(nevers), always=any(always))
    if word == "and":
        return Firing(never=any(nevers), always=all(always))
    return Firing(never=nevers[0])


def _compared(tokens: list[Token]) -> Firing:
    place = _comparison(tokens)
    if place is None:
        is_vector = [one.text for one in tokens[:2]] == ["vector", "("]
        return Firing(always=is_vector)
    left, right, sign = tokens[:place], tokens[place + 1 :], tokens[place].text
    if _number(left) is not None and _number(right) is None:
        left, right, sign = right, left, FLIPPED[sign]
    limit = _number(right)
    bounds = _bounds(left)
    if limit is None or bounds is None:
        return UNKNOWN
    return _judged(bounds, sign, limit)


def _judged(bounds: tuple[float, float], sign: str, limit: float) -> Firing:
    low, high = bounds
    never = {
        ">": high <= limit,
        ">=": high < limit,
        "<": low >= limit,
        "<=": low > limit,
        "==": not low <= limit <= high,
        "!=": low == high == limit,
    }
    always = {
        ">": low > limit,
        ">=": low >= limit,
        "<": high < limit,
        "<=": high <= limit,
        "==": low == high == limit,
        "!=": not low <= limit <= high,
    }
    return Firing(never=never[sign], always=always[sign])


def _bounds(tokens: list[Token]) -> tuple[float, float] | None:
    """Return between what an operand lies; None: nobody knows."""
    calls = [
        one.text
        for one, after in pairwise(tokens)
        if one.kind == "word" and after.text in {"(", "by", "without"} and one.text not in _LISTS
    ]
    is_plain = not any(one.text in _ARITHMETIC for one in tokens)
    selectors = [*selectors_of(tokens)]
    if not is_plain or len(selectors) != 1 or not {*calls} <= FAITHFUL | RISING:
        return None
    if {*calls} & RISING:
        return 0.0, inf
    name = selectors[0].name
    if not name.startswith(("bascule_", "nv_")) and name not in SWITCHES:
        return None
    return (0.0, 1.0) if name in SWITCHES or name.endswith(RATIO_ENDS) else (0.0, inf)


_LISTS: Final = frozenset({"by", "without", "on", "ignoring"})
_ARITHMETIC: Final = frozenset("+-*/%^")


def _number(tokens: list[Token]) -> float | None:
    inner = _unwrapped([one for one in tokens if one.text != "bool"])
    sign = -1.0 if inner and inner[0].text == "-" else 1.0
    rest = inner[1:] if inner and inner[0].text in {"-", "+"} else inner
    return sign * float(rest[0].text) if len(rest) == 1 and rest[0].kind == "number" else None


def _comparison(tokens: list[Token]) -> int | None:
    places = [place for place, one in _top(tokens) if one.text in COMPARISONS]
    return places[0] if len(places) == 1 else None


def _split(tokens: list[Token], word: str) -> list[list[Token]]:
    parts: list[list[Token]] = []
    begin = 0
    for place, one in _top(tokens):
        if one.text == word:
            parts.append(tokens[begin:place])
            begin = place + 1
    rest = tokens[begin:]
    return [_without_matching(part) for part in (*parts, rest)]


def _without_matching(tokens: list[Token]) -> list[Token]:
    """Leave out `on (…)` and the like, which stand at the beginning of a right side."""
    if len(tokens) > 1 and tokens[0].text in {"on", "ignoring"} and tokens[1].text == "(":
        return tokens[closing(tokens, 1) + 1 :]
    return tokens


def _top(tokens: list[Token]) -> list[tuple[int, Token]]:
    """Return the tokens that stand in no bracket, with their places."""
    found: list[tuple[int, Token]] = []
    depth = 0
    for place, one in enumerate(tokens):
        depth -= one.text in {")", "}", "]"}
        if depth == 0:
            found.append((place, one))
        depth += one.text in {"(", "{", "["}
    return found


def _unwrapped(tokens: list[Token]) -> list[Token]:
    while len(tokens) > 1 and tokens[0].text == "(" and closing(tokens, 0) == len(tokens) - 1:
        tokens = tokens[1:-1]
    return tokens
