"""Holds kept connections to an HTTP server open, without asking anything.

python -m benchmarks.growth.holder HOST PORT COUNT

Asks once on each connection, up to the first that is refused or not answered, says `held N`, and
waits for the end of stdin; then asks once more on each and says `answered N`. Ends them without
leaving anything for the kernel to wait for.
"""

import resource
import socket
import struct
import sys
from itertools import takewhile
from typing import Final

REQUEST: Final = b"GET /v2/health/live HTTP/1.1\r\nHost: held\r\n\r\n"
LIMIT_S: Final = 10.0
RESET: Final = struct.pack("ii", 1, 0)
"""Closing resets the connection: ten thousand ports are free at once."""


def main() -> int:
    """Connect, hold, ask again."""
    host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    connected = (_connected(host, port) for _ in range(count))
    held = list(takewhile(lambda one: one is not None, connected))
    print(f"held {len(held)}", flush=True)
    sys.stdin.read()
    print(f"answered {sum(_asked(one) for one in held if one)}", flush=True)
    return 0


def _connected(host: str, port: int) -> socket.socket | None:
    try:
        one = socket.create_connection((host, port), LIMIT_S)
    except OSError as error:
        print(f"not connected: {error}", file=sys.stderr)
        return None
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    return one if _asked(one) else None


def _asked(one: socket.socket) -> bool:
    try:
        one.sendall(REQUEST)
        reply = one.recv(4096)
        while reply and not reply.endswith(b"}"):  # its body may come by itself
            reply += one.recv(4096)
    except OSError as error:
        reply = str(error).encode()
    if reply.startswith(b"HTTP/1.1 200"):
        return True
    print(f"not answered: {reply[:200]!r}", file=sys.stderr)
    return False


if __name__ == "__main__":
    sys.exit(main())
