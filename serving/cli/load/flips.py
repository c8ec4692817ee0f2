"""The proof that no answer came from a version that was not live when its request was sent.

A flip lies between two instants: nobody has asked for it before `began_s`, and every edge has
acknowledged it at `done_s`. A request that was sent between them may get either version. One that
was still on its way when a flip began may get the new one: the edge routes a request when it comes,
and cannot know when it was sent. Those are counted apart, as early. Pure, but for the reading of
the file.
"""

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from runtimes.bounded_file import read_bounded
from runtimes.errors import InvalidArgumentError
from serving.cli.load.ledger import Entry, Heading

MAX_FLIPS_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """Traffic went from one version to another. Seconds of the ledger's monotonic clock."""

    from_version: str
    to_version: str
    began_s: float
    done_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the flips say of a ledger's answers."""

    flip_count: int
    stale: tuple[Entry, ...]
    """Answers by a version that was not live any more when the request was sent."""
    early: tuple[Entry, ...]
    """Answers by a version that became live after the request was sent, and before the answer."""
    finished_count: int
    """Answers of sequences by the version that they began on, after it had ceased to be live."""

    def is_clean(self) -> bool:
        """Whether every answer came from a version that was live while its request was made."""
        return not self.stale


def judge(entries: Sequence[Entry], flips: Sequence[Flip]) -> Judgement:
    """Hold every answer against the flips; without any, all come from one version.

    Raises:
        InvalidArgumentError: The flips do not follow one another.
    """
    first = next((entry.version for entry in entries if entry.version), "")
    line = _Timeline(flips, flips[0].from_version if flips else first)
    stale, early, finished_count = [], [], 0
    for entry in entries:
        if not entry.version or entry.version in line.live_at(entry.sent_s):
            continue
        if entry.sequence and entry.version in line.live_at(entry.began_s):
            finished_count += 1
        elif entry.version in line.live_between(entry.sent_s, entry.answered_s):
            early.append(entry)
        else:
            stale.append(entry)
    return Judgement(
        flip_count=len(flips),
        stale=tuple(stale),
        early=tuple(early),
        finished_count=finished_count,
    )


class _Timeline:
    """Which versions were live when."""

    def __init__(self, flips: Sequence[Flip], first: str) -> None:
        for flip in flips:
            if flip.done_s < flip.began_s:
                raise InvalidArgumentError(
                    f"the flip to version {flip.to_version} was done {flip.done_s} before it "
                    f"began {flip.began_s}"
                )
        for one, other in itertools.pairwise(flips):
            if other.began_s < one.done_s or other.from_version != one.to_version:
                raise InvalidArgumentError(
                    f"the flips to versions {one.to_version} and {other.to_version} do not follow "
                    "one another: each begins where and after the one before has ended"
                )
        self._flips = flips
        self._first = first
        self._begun_s = [flip.began_s for flip in flips]

    def live_at(self, time_s: float) -> frozenset[str]:
        """The versions that may have been live at a time."""
        at = bisect_right(self._begun_s, time_s)
        if at == 0:
            return frozenset((self._first,))
        flip = self._flips[at - 1]
        if time_s < flip.done_s:
            return frozenset((flip.from_version, flip.to_version))
        return frozenset((flip.to_version,))

    def live_between(self, from_s: float, to_s: float) -> frozenset[str]:
        """The versions that became live after `from_s` and not after `to_s`."""
        first, last = (bisect_right(self._begun_s, time_s) for time_s in (from_s, to_s))
        return frozenset(flip.to_version for flip in self._flips[first:last])


class _WrittenFlip(msgspec.Struct, frozen=True):
    from_version: str
    to_version: str
    began_s: float | None = None
    done_s: float | None = None
    began_utc: datetime | None = None
    done_utc: datetime | None = None


def read_flips(path: Path, head: Heading) -> tuple[Flip, ...]:
    """Read flips, one JSON object a line, in the order in which they happened.

    Each has `from_version` and `to_version`, and its two instants as `began_s` and `done_s`
    (monotonic, of the machine that wrote the ledger) or as `began_utc` and `done_utc` (ISO 8601).

    Args:
        path: Of the file.
        head: Of the ledger that they are held against: it relates the two clocks.

    Raises:
        InvalidArgumentError: The file cannot be read, or a line is no flip.
    """
    try:
        lines = read_bounded(path, MAX_FLIPS_BYTES).splitlines()
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error.strerror}") from error
    found = []
    for number, text in enumerate(lines, 1):
        try:
            written = msgspec.json.decode(text, type=_WrittenFlip)
        except msgspec.DecodeError as error:
            raise InvalidArgumentError(f"{path}: line {number} is no flip: {error}") from error
        found.append(
            Flip(
                from_version=written.from_version,
                to_version=written.to_version,
                began_s=_instant_s(written.began_s, written.began_utc, head, path, number),
                done_s=_instant_s(written.done_s, written.done_utc, head, path, number),
            )
        )
    return tuple(found)


def _instant_s(
    monotonic_s: float | None, utc: datetime | None, head: Heading, path: Path, number: int
) -> float:
    if monotonic_s is not None:
        return monotonic_s
    if utc is not None and utc.tzinfo is not None:
        return head.monotonic_at(utc)
    raise InvalidArgumentError(
        f"{path}: line {number} needs began_s and done_s, or began_utc and done_utc with a zone"
    )
