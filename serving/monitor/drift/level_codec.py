"""Categories and text as components: a flag for each frequent level, four more, and contrasts.

A contrast is the flag of a level less that of another one. It sees that rows of the one became rows
of the other earlier than either flag does.

What the reference has seen once tells how often something new comes (Good and Turing): rows of
such levels count as `never seen` in the reference, and only there.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from serving.monitor.drift.columns import IntArray, Role, SingleArray

TOP_LEVELS: Final = 32
MAX_CONTRASTED: Final = 6
"""Between so many of the most frequent levels."""
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
    """Turns levels into slots of tables, which have all that is said of a level.

    There is a slot for each level that has a component of its own, and one each for other levels,
    levels never seen, missing ones, and for others and never seen ones that are not UTF-8.
    """

    def __init__(self, reference: LevelReference, hidden: frozenset[bytes] = frozenset()) -> None:
        """Build the tables; `hidden` levels count as never seen."""
        self.reference = reference
        top = len(reference.top)
        other, never_seen, missing, invalid = range(top, top + len(FLAGS))
        other_invalid, never_seen_invalid = top + len(FLAGS) - 1, top + len(FLAGS)
        self._slots = _Slots(never_seen, never_seen_invalid)
        for level in reference.levels[top:]:
            self._slots[level] = other if is_utf8(level) else other_invalid
        self._slots.update((level, slot) for slot, level in enumerate(reference.top))
        for level in hidden:
            self._slots[level] = self._slots.unknown(level)
        self._slots[b""] = missing
        shares = list(combinations(range(min(top, MAX_CONTRASTED)), 2))
        self.contrasts: tuple[tuple[int, int], ...] = tuple(shares)
        """The pairs of levels whose shares are compared, as places among the top ones."""
        self.table: SingleArray = np.zeros(
            (top + len(FLAGS) + 1, top + len(FLAGS) + len(shares)), dtype=np.float32
        )
        """The components of each slot. Shape (slots, components)."""
        np.fill_diagonal(self.table[: missing + 1], 1)
        self.table[other_invalid, [other, invalid]] = 1
        self.table[never_seen_invalid, [never_seen, invalid]] = 1
        for slot, level in enumerate(reference.top):
            self.table[slot, invalid] = not is_utf8(level)
        for place, (one, another) in enumerate(shares, start=invalid + 1):
            self.table[one, place], self.table[another, place] = 1, -1
        self.flag_count = top + len(FLAGS)
        """Components before the contrasts."""
        self.bins: IntArray = np.arange(len(self.table))
        """The bin of each slot: each has its own."""

    def slots(self, values: Sequence[bytes]) -> IntArray:
        """Find the values' slots. Shape (rows,)."""
        return np.array(list(map(self._slots.__getitem__, values)), dtype=np.int64)


class _Slots(dict[bytes, int]):
    """Which slot a level has; what is not in it was never seen, and is not kept."""

    def __init__(self, never_seen: int, invalid: int) -> None:
        super().__init__()
        self._never_seen, self._invalid = never_seen, invalid

    def unknown(self, level: bytes) -> int:
        return self._never_seen if is_utf8(level) else self._invalid

    __missing__ = unknown


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
