"""A server that does the least with a body: touches each byte once, and answers as many.

python -m benchmarks.peers.touching_sink SOCKET

HTTP/1.1 over a unix socket, one thread. A body is copied once, as a worker must copy rows into a
batch, and the copy is the answer. It knows `Content-Length` only.
"""

import argparse
import asyncio
import re
from typing import Any, Final

import numpy as np
import uvloop

LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
HEAD_END: Final = b"\r\n\r\n"
HEAD_BYTES: Final = 65_536
"""The longest head, and what is read at once while one comes."""


class Sink(asyncio.BufferedProtocol):
    """One connection: bytes land in a buffer that is kept from request to request."""

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self.transport = transport
        self.came = bytearray(HEAD_BYTES)
        self.answer = bytearray()
        self.filled = 0
        self.needed = 0
        """Bytes of the request, head and body; 0 while the head is not whole."""
        self.body_at = 0

    def get_buffer(self, _: int) -> memoryview:
        """Give the room behind what has come."""
        return memoryview(self.came)[self.filled :]

    def buffer_updated(self, count: int) -> None:
        """Take what has come; answer a whole request."""
        self.filled += count
        if not self.needed:
            self._read_head()
        if self.needed and self.filled >= self.needed:
            self._answer()

    def _read_head(self) -> None:
        end = self.came.find(HEAD_END, 0, self.filled)
        if end < 0:
            return
        length = LENGTH.search(self.came, 0, end)
        self.body_at = end + len(HEAD_END)
        self.needed = self.body_at + (int(length.group(1)) if length else 0)
        if len(self.came) < self.needed:
            wider = bytearray(self.needed)
            wider[: self.filled] = self.came[: self.filled]
            self.came = wider

    def _answer(self) -> None:
        size = self.needed - self.body_at
        if len(self.answer) != size:
            self.answer = bytearray(size)
        touched = np.frombuffer(self.came, np.uint8, size, self.body_at)
        np.copyto(np.frombuffer(self.answer, np.uint8), touched)
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        self.transport.write(self.answer)  # whole at the client before it asks again
        self.filled = self.needed = 0


async def serve(socket: str) -> None:
    """Serve until the process ends."""
    server = await asyncio.get_running_loop().create_unix_server(Sink, socket)
    await server.serve_forever()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    uvloop.run(serve(parser.parse_args().socket))


if __name__ == "__main__":
    main()
