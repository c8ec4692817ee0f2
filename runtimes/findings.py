"""What a check found: one disagreement between what a model needs and what is there."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a finding does: an error keeps a version from being loaded."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One disagreement, with its evidence and its remedy.

    `message` says what is wrong in one sentence, the value and its limit in it; `fix` says what to
    do, as an instruction. Neither holds a path outside the model's folder.
    """

    code: str
    """Stable, never reused: `BP-F01`, … (`runtimes/preflight` lists them all)."""
    severity: Severity
    subject: str
    """What it is about: a file, a tensor, a node, a package."""
    message: str
    fix: str
    found: str = ""
    required: str = ""
    waiver: str = ""
    """Until when, by whom and why it is allowed; empty: it is not. It is information then."""

    def __str__(self) -> str:
        """Print as one line for people."""
        allowed = f" (waived {self.waiver})" if self.waiver else ""
        return f"{self.code} {self.subject}: {self.message}: {self.fix}{allowed}"
