"""Whose calls share a queue fairly, as a model's configuration wants it.

In `config.pbtxt`, among the parameters::

    parameters { key: "fair_share_header" value { string_value: "x-api-key" } }

Calls with the same value of that header, or gRPC metadata, are one client's; those without it are
one client together, as are calls of streams. Clients take turns by rows within a priority level.
Who may call himself what is for whoever stands in front of the server to settle.
"""

import re
from collections.abc import Mapping
from typing import Final

from runtimes.errors import InvalidArgumentError

HEADER: Final = "fair_share_header"
PARAMETERS: Final = frozenset({HEADER})
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
