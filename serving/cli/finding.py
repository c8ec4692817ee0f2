"""What a check of the machine found."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Level(StrEnum):
    """How bad it is: an error means that something will not work."""

    OK = "ok"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `bascule doctor`."""

    level: Level
    subject: str
    text: str
    remedy: str = ""

    @classmethod
    def ok(cls, subject: str, text: str) -> Self:
        """All is well."""
        return cls(Level.OK, subject, text)

    @classmethod
    def warn(cls, subject: str, text: str, remedy: str) -> Self:
        """It works, and not as well as it could, or not everything does."""
        return cls(Level.WARN, subject, text, remedy)

    @classmethod
    def error(cls, subject: str, text: str, remedy: str) -> Self:
        """It will not work; the remedy says what to do."""
        return cls(Level.ERROR, subject, text, remedy)
