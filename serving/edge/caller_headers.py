"""What a `generate` call says of its caller and its trace: it goes with it into the edge again.

A header may decide which version answers (`sticky_by`) and whose turn it is (`fair_share_header`).
"""

import re
from collections.abc import Iterable
from typing import Final

from serving.edge.call_relay import OF_THE_HOP, OURS

OF_THE_BODY: Final = re.compile(r"accept.*|content-.*|host|inference-header-content-length")
"""The infer call has others, and its reply is read here."""


def caller_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers that are neither of a connection nor of a body, nor the edge's own.

    Args:
        headers: Names in lower case.
    """
    return {
        name: value
        for name, value in headers
        if name not in OF_THE_HOP and name not in OURS and not OF_THE_BODY.fullmatch(name)
    }
