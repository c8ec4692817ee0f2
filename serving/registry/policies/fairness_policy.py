"""Whose calls share a queue fairly, and what waiting is worth, as a model's configuration wants it.

In `config.pbtxt`, among the parameters::

    parameters { key: "fair_share_header"             value { string_value: "x-api-key" } }
    parameters { key: "priority_ageing_microseconds" value { string_value: "2000000" } }

Calls with the same value of that header, or gRPC metadata, are one client's; those without it are
one client together. Clients take turns by rows within a priority level. Who may call himself what
is for whoever stands in front of the server to settle.

Each time that a call has waited for the second one's span, it goes up a priority level. Without it
calls of a level wait for as long as there are any of a lower number, as Triton has it.
"""

import re
from collections.abc import Mapping
from typing import Final

from runtimes.errors import InvalidArgumentError
from serving.ids import natural

HEADER: Final = "fair_share_header"
AGEING: Final = "priority_ageing_microseconds"
PARAMETERS: Final = frozenset({HEADER, AGEING})
US_PER_S: Final = 1_000_000
LONGEST_AGEING_US: Final = 24 * 3600 * US_PER_S
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


def client_header(given: Mapping[str, str]) -> str:
    """Read the name of the header that names clients; empty: calls wait in order of arrival.

    Args:
        given: A configuration's parameters, as texts.

    Raises:
        InvalidArgumentError: It is no header's name.
    """
    if HEADER not in given:
        return ""
    name = given[HEADER].strip().lower()
    if NAME.fullmatch(name) is None:
        raise InvalidArgumentError(
            f"parameters: {HEADER} is '{given[HEADER][:70]}': the name of a header is expected, of "
            "letters, digits, and - _ . between them, such as x-api-key"
        )
    return name


def ageing_s(given: Mapping[str, str], level_count: int) -> float:
    """Read how long calls wait in a priority level before they go up; 0: they stay.

    Args:
        given: A configuration's parameters, as texts.
        level_count: How many levels it has.

    Raises:
        InvalidArgumentError: It is no such span, or there is no level to go up to.
    """
    if AGEING not in given:
        return 0.0
    text = given[AGEING].strip()
    us = natural(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= us <= LONGEST_AGEING_US:
        raise InvalidArgumentError(
            f"parameters: {AGEING} is '{text[:40]}': a number from 0 (never) to "
            f"{LONGEST_AGEING_US} (a day) is expected"
        )
    if us and level_count <= 1:
        raise InvalidArgumentError(
            f"parameters: {AGEING} is {us}, and there is no priority level to go up to: set "
            "dynamic_batching priority_levels, or leave it out"
        )
    return us / US_PER_S
