"""A TCP port that stays a worker's, from before its first start to after its last end. No Ray."""

import socket


def reserve_port() -> socket.socket:
    """Take a free port of this node; nobody else is given it until the socket is closed.

    Nobody listens on this socket, so the worker may bind the port beside it, each time that it is
    started: both say SO_REUSEADDR. A port that was only looked for may be taken when the worker
    has loaded its versions, or while it restarts: by any connection to elsewhere, for one.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("", 0))
    return held
