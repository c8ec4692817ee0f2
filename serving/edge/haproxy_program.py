"""Pure: HAProxy's program with JSON in place of the HTML that is compiled into it.

HAProxy 2.8 answers what it cannot read as the head of a request (two lengths, a byte that is no
ASCII, a head that is too long or too slow) before it has looked for an error file, with texts of
its own. They are whole replies, each ended by a zero byte. `speaking_json` gives the same program
with other replies of the same length in the same places, and nothing else changed.
"""

import json
import re
from typing import Final

from serving.edge.haproxy_replies import HTTP_FAULTS

REPLY: Final = re.compile(
    rb"HTTP/1\.1 (?P<status>[45]\d\d) (?P<phrase>[A-Za-z -]{1,40})\r\n"
    rb"(?:[A-Za-z-]+: [^\r\n\0]{1,40}\r\n)+\r\n<html>[^\0]{1,200}</html>\n(?=\0)"
)


def speaking_json(program: bytes) -> bytes | None:
    """Replace the replies of a program's data.

    Returns:
        None if the replies are not there exactly once each: this is another HAProxy.
    """
    found = [int(match["status"]) for match in REPLY.finditer(program)]
    if len(set(found)) != len(found) or not {400, 408, 500} <= set(found):
        return None
    return REPLY.sub(_json, program)


def _json(match: re.Match[bytes]) -> bytes:
    """Write the reply that takes a reply's place; the old one where the new one has no room."""
    status = int(match["status"])
    if status not in HTTP_FAULTS:
        return match[0]
    start = f"HTTP/1.1 {status} {match['phrase'].decode()}\r\nContent-Length: "
    end = "\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n"
    body = json.dumps({"error": HTTP_FAULTS[status]})
    size = len(match[0]) - len(start) - len("100") - len(end)
    if size < len(body):
        return match[0]
    # Blanks fill the body: JSON may end with them.
    return f"{start}{size:03}{end}{body:<{size}}".encode()
