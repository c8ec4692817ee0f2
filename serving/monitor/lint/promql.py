"""Reads of PromQL what can be judged without running it: selectors, windows, comparisons.

No whole parser: what it does not understand it says nothing of.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from runtimes.errors import InvalidArgumentError

MAX_CHARACTERS: Final = 20_000
TOKEN: Final = re.compile(
    r"""(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
    |(?P<duration>(?:\d+(?:ms|[smhdwy]))+)(?![\w.])
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|\b(?:[Ii]nf|NaN)\b)
    |(?P<word>[A-Za-z_][\w:]*)
    |(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^(){}\[\],=<>:@])
    |(?P<space>\s+|\#[^\n]*)""",
    re.VERBOSE,
)
GROUPING: Final = frozenset(
    {"by", "without", "on", "ignoring", "group_left", "group_right", "start", "end"}
)
WORDS: Final = GROUPING | {"and", "or", "unless", "bool", "offset", "atan2", "keep_metric_names"}
COMPARISONS: Final = frozenset({"==", "!=", ">", "<", ">=", "<="})
DAY_S: Final = 86_400
UNITS_S: Final = {
    "ms": 1e-3,
    "s": 1,
    "m": 60,
    "h": 3600,
    "d": DAY_S,
    "w": 7 * DAY_S,
    "y": 365 * DAY_S,
}
PART: Final = re.compile(r"(\d+)(ms|[smhdwy])")


@dataclass(frozen=True, slots=True)
class Token:
    """One word of an expression."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label."""

    label: str
    sign: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """What an expression reads."""

    name: str
    matchers: tuple[Matcher, ...]
    window_s: float
    """0: the latest value."""


def tokens_of(expression: str) -> list[Token]:
    """Split an expression.

    Raises:
        InvalidArgumentError: It is none, or too long.
    """
    if len(expression) > MAX_CHARACTERS:
        raise InvalidArgumentError(f"an expression has more than {MAX_CHARACTERS} characters")
    found: list[Token] = []
    place = 0
    while place < len(expression):
        match = TOKEN.match(expression, place)
        if match is None or match.end() == place:
            raise InvalidArgumentError(f"{expression[place : place + 20]!r} is no PromQL")
        place = match.end()
        if match.lastgroup != "space":
            found.append(Token(str(match.lastgroup), match.group()))
    return found


def duration_s(text: str) -> float:
    """Return the seconds of `5m` or `1h30m`; 0 if it is none."""
    return float(sum(int(count) * UNITS_S[unit] for count, unit in PART.findall(text)))


def selectors_of(tokens: list[Token]) -> Iterator[Selector]:
    """Give all that an expression reads."""
    place = 0
    while place < len(tokens):
        token, after = tokens[place], _text(tokens, place + 1)
        if token.text == "[":  # a subquery's window
            place = closing(tokens, place) + 1
        elif token.kind == "word" and token.text in GROUPING and after == "(":
            place = closing(tokens, place + 1) + 1
        elif token.text == "{" or (
            token.kind == "word" and token.text not in WORDS and not _is_call(tokens, place)
        ):
            selector, place = _selector(tokens, place)
            yield selector
        else:
            place += 1


def closing(tokens: list[Token], place: int) -> int:
    """Return where the bracket that opens at a place closes; the last token if it never does."""
    depth = 0
    for index in range(place, len(tokens)):
        depth += tokens[index].text in {"(", "{", "["}
        depth -= tokens[index].text in {")", "}", "]"}
        if depth == 0:
            return index
    return len(tokens) - 1


def _is_call(tokens: list[Token], place: int) -> bool:
    """Whether a word is a function's, or an aggregation's whose labels come first."""
    after = _text(tokens, place + 1)
    return after == "(" or after in {"by", "without"}


def _selector(tokens: list[Token], place: int) -> tuple[Selector, int]:
    name = ""
    if tokens[place].kind == "word":
        name, place = tokens[place].text, place + 1
    matchers: tuple[Matcher, ...] = ()
    if _text(tokens, place) == "{":
        end = closing(tokens, place)
        matchers, place = tuple(_matchers(tokens[place + 1 : end])), end + 1
    window_s = 0.0
    if _text(tokens, place) == "[":
        window_s = duration_s(_text(tokens, place + 1))
        place = closing(tokens, place) + 1
    given = next((one.value for one in matchers if one.label == "__name__"), "")
    return Selector(name=name or given, matchers=matchers, window_s=window_s), place


def _matchers(tokens: list[Token]) -> Iterator[Matcher]:
    for label, sign, value in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if label.kind == "word" and sign.kind == "sign" and value.kind == "text":
            yield Matcher(label.text, sign.text, value.text[1:-1])


def _text(tokens: list[Token], place: int) -> str:
    return tokens[place].text if place < len(tokens) else ""
