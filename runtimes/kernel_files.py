"""Small files that the kernel shows: below /proc and /sys, where any of them may be missing."""

from pathlib import Path


def text_of(path: Path) -> str:
    """Return a small file's text; empty where it does not exist or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
