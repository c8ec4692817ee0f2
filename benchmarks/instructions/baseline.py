"""Instructions per request, as counted and as recorded, and what a difference means."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

Kind = TypeVar("Kind")

BASELINE: Final = Path(__file__).with_name("baseline.json")
"""Counts of several interpreters: what one needs says nothing of another."""
MAX_RATIO: Final = 1.1
"""More than this times the baseline fails."""
FELL_RATIO: Final = 0.95
"""Below this the baseline hides what may be lost again."""
HOW_TO_UPDATE: Final = "python -m benchmarks.instructions --update"


class NoCountsError(Exception):
    """A file that should hold counts cannot be read, or holds something else."""


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted, and with what."""

    interpreter: str
    packages: Mapping[str, str]
    """Those that take part, with their versions."""
    instructions: Mapping[str, int]
    """Kind of call → instructions per request, all of the process."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of call, against its baseline."""

    case: str
    instructions: int | None
    """None: the baseline has it, and it was not counted."""
    baseline: int | None
    """None: it is new."""

    @property
    def ratio(self) -> float | None:
        """How many times the baseline; None where there is nothing to compare."""
        if self.instructions is None or not self.baseline:
            return None
        return self.instructions / self.baseline

    @property
    def is_failure(self) -> bool:
        """Whether it has grown too much, is without a baseline, or is gone."""
        return self.ratio is None or self.ratio > MAX_RATIO

    @property
    def remark(self) -> str:
        """What is to be said of it; empty: nothing."""
        if self.instructions is None:
            return "NOT COUNTED: the baseline has it"
        if self.ratio is None:
            return "NOT IN THE BASELINE"
        if self.ratio > MAX_RATIO:
            return f"GREW by {self.ratio - 1:.1%}, more than {MAX_RATIO - 1:.0%}"
        if self.ratio < FELL_RATIO:
            return f"fell by {1 - self.ratio:.1%}: record it, or it may grow back unnoticed"
        return ""


def compare(counted: Counted, baseline: Counted) -> list[Line]:
    """Put what was counted beside the baseline: every kind of call that one of them has."""
    cases = dict.fromkeys((*counted.instructions, *baseline.instructions))
    return [
        Line(
            case=case,
            instructions=counted.instructions.get(case),
            baseline=baseline.instructions.get(case),
        )
        for case in cases
    ]


def recorded(file: Path, interpreter: str) -> Counted | None:
    """Return the baseline of an interpreter; None: it has none.

    Raises:
        NoCountsError: The file is something else.
    """
    return next((one for one in _all(file) if one.interpreter == interpreter), None)


def record(file: Path, counted: Counted) -> None:
    """Make counts the baseline of their interpreter; the others' stay."""
    others = _all(file) if file.is_file() else []
    kept = [one for one in others if one.interpreter != counted.interpreter]
    _put(file, sorted([*kept, counted], key=lambda one: one.interpreter))


def read(file: Path) -> Counted:
    """Read what was written.

    Raises:
        NoCountsError: It is something else, or not there.
    """
    return _decoded(file, Counted)


def write(file: Path, counted: Counted) -> None:
    """Write it."""
    _put(file, counted)


def _put(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def _all(file: Path) -> list[Counted]:
    return _decoded(file, list[Counted])


def _decoded(file: Path, kind: type[Kind]) -> Kind:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except OSError as error:
        raise NoCountsError(f"{file} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise NoCountsError(f"{file} holds no counts: {error}") from error
