"""Categories and text as components: a flag for each frequent level, and four more.

What the reference has seen once tells how often something new comes (Good and Turing): rows of
such levels count as `never seen` in the reference, and only there.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from serving.monitor.drift.columns import IntArray, Role, SingleArray

TOP_LEVELS: Final = 32
MAX_KNOWN: Final = 20_000
"""So many levels are remembered; if there are more, the rest is `never seen`, then and now."""
FLAGS: Final = ("other", "never seen", "missing", "not UTF-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelReference:
    """What is kept of a column of levels."""

    name: str
    role: Role
    levels: tuple[bytes, ...]
    """The most frequent first; the first `TOP_LEVELS` have a component each."""

    @property
    def top(self) -> tuple[bytes, ...]:
        """Levels with a component of their own."""
        return self.levels[:TOP_LEVELS]


def learn_levels(name: str, role: Role, values: Sequence[bytes]) -> LevelReference:
    """Summarise a column of the reference."""
    counts = Counter(value for value in values if value)
    ranked = sorted(counts, key=lambda level: (-counts[level], level))
    return LevelReference(name=name, role=role, levels=tuple(ranked[:MAX_KNOWN]))


class LevelCodec:
    """Turns levels into flags."""

    def __init__(self, reference: LevelReference, hidden: frozenset[bytes] = frozenset()) -> None:
        """Build the lookup; `hidden` levels count as never seen."""
        self.reference = reference
        top = len(reference.top)
        self._never_seen, self._missing, self._invalid = top + 1, top + 2, top + 3
        self._places = {level: min(i, top) for i, level in enumerate(reference.levels)}
        self._places |= dict.fromkeys(hidden, self._never_seen)
        self._places[b""] = self._missing
        self._not_utf8 = frozenset(level for level in self._places if not is_utf8(level))

    @property
    def component_count(self) -> int:
        """How many components a level has; as many bins."""
        return len(self.reference.top) + len(FLAGS)

    def places(self, values: Sequence[bytes]) -> IntArray:
        """Return which flag each row raises, UTF-8 apart."""
        find, never_seen = self._places.get, self._never_seen
        return np.fromiter(
            (find(value, never_seen) for value in values), np.int64, count=len(values)
        )

    def encode(self, values: Sequence[bytes], out: SingleArray) -> IntArray:
        """Fill the flags of shape (components, rows); return which of them each row raises."""
        places = self.places(values)
        out[:] = 0
        out[places, np.arange(len(places))] = 1
        for row in np.flatnonzero(places == self._never_seen).tolist():
            out[self._invalid, row] = not is_utf8(values[row])
        if self._not_utf8:
            bad = [value in self._not_utf8 for value in values]
            out[self._invalid] += np.array(bad) & (out[self._invalid] == 0)
        return places


def seen_once(values: Sequence[bytes]) -> frozenset[bytes]:
    """Return the levels that occur a single time."""
    counts = Counter(values)
    return frozenset(level for level, count in counts.items() if count == 1 and level)


def shown(level: bytes) -> str:
    """Return a level as text for people."""
    return level.decode("utf-8", "backslashreplace")


def is_utf8(level: bytes) -> bool:
    """Say whether bytes are text."""
    try:
        level.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
