"""A client of the in-process worker that keeps all that it is sent."""

from benchmarks.instructions.in_process import CountingTransport


class KeepingTransport(CountingTransport):
    """`written` is all of it."""

    def __init__(self) -> None:
        """Nothing was written yet."""
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        super().write(data)
        self.written += data
