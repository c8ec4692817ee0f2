"""A finished environment, as its own mark file describes it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

MARK_FILE: Final = "environment.json"
"""Written last: a folder without it is no environment yet, or no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A finished environment."""

    key: str
    folder: str
    """Absolute path."""
    packages: tuple[str, ...]
    """What was installed: `name==version`."""
    python_version: str
    build_s: float
    size_bytes: int

    @property
    def python(self) -> Path:
        """Where its interpreter lies."""
        return interpreter(Path(self.folder))


def interpreter(folder: Path) -> Path:
    """Return where the interpreter of an environment lies."""
    return folder / "bin" / "python"
