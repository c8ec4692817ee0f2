"""What there is, said to somebody who named what there is not."""

from collections.abc import Iterable
from typing import Final

from runtimes.misspelling import did_you_mean

SHOWN: Final = 10


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the name that was perhaps meant, else the first ones that there are.

    Args:
        name: What was named.
        known: What there is.
    """
    names = sorted(known)
    if meant := did_you_mean(name, names):
        return meant
    if not names:
        return "nothing is there yet (bascule push)"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"there are {', '.join(names[:SHOWN])}{more}"
