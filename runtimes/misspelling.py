"""The name that was perhaps meant, said to somebody who named what there is not."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str], lead: str = "") -> str:
    """Return the question whether the nearest name was meant; empty if none is near.

    Args:
        name: What was named.
        known: What there is.
        lead: What parts the question from what was said before.
    """
    near = difflib.get_close_matches(name, tuple(known), n=1)
    return f"{lead}did you mean {near[0]}?" if near else ""
