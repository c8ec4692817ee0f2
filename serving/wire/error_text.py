"""The text of an error as clients see it, the same on both wires."""

from typing import Final

from runtimes.errors import BasculeError

# A gRPC status message is a header: percent-encoded (12 bytes for the longest character) it must
# fit into one buffer of the edge, and names that a client made up may be as long as its body.
MAX_CHARACTERS: Final = 2000


def error_text(error: BasculeError) -> str:
    """Return an error's message: Unicode, and short enough for every wire."""
    text = error.message
    if len(text) > MAX_CHARACTERS:
        text = f"{text[: MAX_CHARACTERS - 1]}…"
    return text.encode("utf-8", "replace").decode("utf-8")
