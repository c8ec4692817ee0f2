"""Text that others wrote, as a terminal may show it: what a bundle says must not look like ours.

An escape sequence could clear the screen and write another answer there, a line's end could forge a
line of `bascule inspect`, and marks of direction let text read as another one.
"""

import re
from typing import Final

HARMFUL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)
"""Control characters but tabs and ends of lines, and what changes the direction of text."""


def shown(text: str, indent: str = "") -> str:
    """Return a text with what is harmful written out, and its further lines indented."""
    plain = text.replace("\r\n", "\n")
    return HARMFUL.sub(_written_out, plain).replace("\n", f"\n{indent}")


def shown_line(text: str) -> str:
    """Return a text in one line, with what is harmful written out."""
    return shown(text).replace("\n", "\\n")


def _written_out(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
