"""What a program asks of the callgrind that it runs under: client requests, from Python.

Valgrind runs a program's instructions itself, and takes a certain sequence that does nothing on a
real processor as a question (`valgrind.h`, `callgrind.h`). Python cannot say it, so 26 bytes of
x86-64 code do. Counting only what is asked for makes the start, thousands of times as long as a
request, cheap: callgrind then runs it without looking.
"""

import ctypes
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MACHINE: Final = "x86_64"
"""The only one whose instructions these are."""
ASK: Final = bytes.fromhex(
    "4889f8"  # mov rax, rdi: where the question lies
    "31d2"  # xor edx, edx: the answer where nobody listens
    "48c1c703 48c1c70d 48c1c73d 48c1c733"  # rol rdi by 3, 13, 61 and 51: as it was
    "4887db"  # xchg rbx, rbx
    "4889d0"  # mov rax, rdx
    "c3"  # ret
)
RUNNING_ON_VALGRIND: Final = 0x1001
CALLGRIND: Final = (ord("C") << 24) | (ord("T") << 16)
ZERO_STATISTICS: Final = CALLGRIND + 1
DUMP_STATISTICS_AT: Final = CALLGRIND + 3
START: Final = CALLGRIND + 4
STOP: Final = CALLGRIND + 5

Question = ctypes.c_uint64 * 6


class Callgrind:
    """The tool that runs this process, if one does."""

    def __init__(self) -> None:
        """Make the question's code callable."""
        access = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        self._page = mmap.mmap(-1, mmap.PAGESIZE, prot=access)
        self._page.write(ASK)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        self._ask = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(address)

    @property
    def is_there(self) -> bool:
        """Whether the process runs under valgrind."""
        return bool(self._send(RUNNING_ON_VALGRIND))

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Look at instructions from here to the end."""
        self._send(START)
        try:
            yield
        finally:
            self._send(STOP)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Write what this part costs into a file of its own, which says its name."""
        text = ctypes.create_string_buffer(name.encode())
        self._send(ZERO_STATISTICS)
        yield
        self._send(DUMP_STATISTICS_AT, ctypes.addressof(text))

    def _send(self, request: int, argument: int = 0) -> int:
        question = Question(request, argument)
        return int(self._ask(ctypes.addressof(question)))
