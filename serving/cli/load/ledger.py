"""The ledger: every request of a load test, when it was sent, when and by which version answered.

On disk it is JSON lines: one that says what was asked and how the monotonic clock relates to the
wall clock, then one for each request, in the order of the answers.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from runtimes.errors import InvalidArgumentError

FORMAT: Final = 1


class Outcome(StrEnum):
    """What became of a request."""

    RIGHT = "right"
    WRONG = "wrong"
    """Answered, and the numbers are not those of the version that answered."""
    FAILED = "failed"
    UNCHECKED = "unchecked"
    """Answered by a version of which nothing is known to compare with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request. Times are seconds of the monotonic clock."""

    transport: str
    """`http`, `grpc` or `stream`."""
    connection: str = "kept"
    """`kept`, or `new` for one that was opened for this request."""
    body_bytes: int = 0
    """Of the input tensors."""
    began_s: float
    """When its sequence began; otherwise when it was sent."""
    sent_s: float
    answered_s: float
    version: str = ""
    outcome: Outcome = Outcome.RIGHT
    error: str = ""
    sequence: int = 0
    """Its sequence's number; 0: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """The first line of a ledger's file."""

    ledger: int = FORMAT
    model: str
    monotonic_s: float
    """The monotonic clock at `utc`."""
    utc: datetime

    def monotonic_at(self, utc: datetime) -> float:
        """Return what the monotonic clock showed at a time of the wall clock."""
        return self.monotonic_s + (utc - self.utc).total_seconds()


def heading(model: str, monotonic_s: float) -> Heading:
    """Begin a ledger now."""
    return Heading(model=model, monotonic_s=monotonic_s, utc=datetime.now(UTC))


@dataclass(slots=True)
class Ledger:
    """Every request of a run, in the order of the answers."""

    entries: list[Entry] = field(default_factory=list)
    counts: Counter[Outcome] = field(default_factory=Counter)

    def add(self, entry: Entry) -> None:
        """Write a request down."""
        self.entries.append(entry)
        self.counts[entry.outcome] += 1

    def failed(self) -> list[Entry]:
        """The requests without an answer that is known to be right."""
        return [e for e in self.entries if e.outcome is not Outcome.RIGHT]

    def latencies_s(self, transport: str) -> list[float]:
        """Seconds from send to answer of every right answer on one transport, sorted."""
        return sorted(
            e.answered_s - e.sent_s
            for e in self.entries
            if e.transport == transport and e.outcome is Outcome.RIGHT
        )

    def longest_gap_s(self) -> float:
        """The longest time in which no right answer came at all."""
        times = sorted(e.answered_s for e in self.entries if e.outcome is Outcome.RIGHT)
        return max((b - a for a, b in itertools.pairwise(times)), default=0.0)


def write_ledger(path: Path | None, head: Heading, entries: Sequence[Entry]) -> None:
    """Write a ledger as JSON lines; nowhere, without a path.

    Raises:
        InvalidArgumentError: The file cannot be written.
    """
    if path is None:
        return
    encoder = msgspec.json.Encoder()
    try:
        with path.open("wb") as file:
            file.write(encoder.encode(head) + b"\n")
            file.writelines(encoder.encode(entry) + b"\n" for entry in entries)
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be written: {error.strerror}") from error


def read_ledger(path: Path) -> tuple[Heading, Ledger]:
    """Read what `write_ledger` wrote.

    Raises:
        InvalidArgumentError: The file cannot be read, or is no ledger.
    """
    ledger = Ledger()
    decoder = msgspec.json.Decoder(Entry)
    try:
        with path.open("rb") as file:
            head = msgspec.json.decode(file.readline(), type=Heading)
            for text in file:
                ledger.add(decoder.decode(text))
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        line = len(ledger.entries) + 1
        raise InvalidArgumentError(f"{path} is no ledger: near line {line}: {error}") from error
    return head, ledger
