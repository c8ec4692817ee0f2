"""The template of workers: imports once what each of them needs, then forks one whenever asked.

    python -m serving.worker.template LISTENER ROOM

LISTENER is the descriptor of a listening unix socket (SOCK_SEQPACKET), ROOM an argument of spaces,
where a copy writes its own command line. Imports are nearly all of a worker's start. Who wants a
worker (`serving/rollout/forked_child.py`) connects and sends a `ForkOrder`; orders that come while
this imports wait in the socket. A copy outlives this process, and dies with its supervisor
(`copying.py`).

Forking is safe, since no other thread ever runs here: ONNX Runtime's reporting and OpenBLAS's pool,
which imports would start, are off, and an order is refused as long as there is a second thread. No
engine has a session here, and CUDA is not touched. What is read when a program starts, or when a
library is imported, cannot be changed in a copy: an order with another environment is refused, such
as one that gives GPUs. After packages were installed or removed a copy would compute with what was
there before: the template refuses and ends, and its keeper makes another one. Copies share the
layout of their memory, as with every server that forks.
"""

import gc
import os
import selectors
import site
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

import msgspec

from serving.niceness import end_niceness
from serving.worker.__main__ import work
from serving.worker.arguments import parse_arguments
from serving.worker.copying import become
from serving.worker.fork_order import FDS_OF_ORDER, MAX_MESSAGE_BYTES, Ended, Forked, ForkOrder
from serving.worker.process import STDIN

PARTS: Final = ("runtimes.onnxrt", "runtimes.onnx_probe")
"""What most workers import besides, by the time they are ready. Not torch: three times all the
rest, in time and in memory. Who needs it imports it when its version loads."""
ENVIRONMENT: Final = Path("/proc/self/environ")
THREADS: Final = Path("/proc/self/task")
ORDER_LIMIT_S: Final = 1.0
"""Whoever connects sends at once."""
NOTHING: Final = ForkOrder(argv=(), env={}, niceness=0)
OWN_WORDS: Final = 3
"""`PYTHON -m serving.worker`, before a worker's own arguments."""


@dataclass(frozen=True, slots=True)
class _Copy:
    pid: int
    supervisor: socket.socket


class Template:
    """Forks a worker for each order, and tells how it ended."""

    def __init__(self, listener: socket.socket) -> None:
        """Wait for orders at a socket."""
        self._listener = listener
        self._packages = _packages()
        self._copies: dict[int, _Copy] = {}
        self._selector = selectors.DefaultSelector()
        for fd in (listener.fileno(), STDIN):
            self._selector.register(fd, selectors.EVENT_READ)

    def run(self) -> ForkOrder | None:
        """Work until standard input ends, or packages change: None. In each copy, its order."""
        while self._packages == _packages():
            for key, _ in self._selector.select():
                if key.fd == STDIN:
                    return None
                if key.fd in self._copies:
                    self._tell_end(key.fd)
                elif (order := self._take_order()) is not None:
                    return order
        return None

    def _take_order(self) -> ForkOrder | None:
        """Answer the next who connects; return the order in the copy, None here."""
        supervisor, _ = self._listener.accept()
        supervisor.settimeout(ORDER_LIMIT_S)
        fds: list[int] = []
        order = NOTHING
        try:
            raw, fds, _, _ = socket.recv_fds(supervisor, MAX_MESSAGE_BYTES, FDS_OF_ORDER)
            order = msgspec.json.decode(raw, type=ForkOrder)
            refusal = _refusal(order)
            if self._packages != _packages():
                refusal = "packages were installed or removed since"
            if refusal:
                supervisor.send(msgspec.json.encode(Forked(refusal=refusal)))
        except (OSError, msgspec.DecodeError) as error:
            refusal = str(error)
        if refusal:
            sys.stderr.write(f"no worker was forked: {refusal}\n")
            supervisor.close()
        elif not self._fork(supervisor):
            self._leave(supervisor)
            become(order, *fds)
            return order
        for fd in fds:
            os.close(fd)
        return None

    def _fork(self, supervisor: socket.socket) -> int:
        """Return the process's id; in the copy 0."""
        pid = os.fork()
        if pid:
            pidfd = os.pidfd_open(pid)
            self._copies[pidfd] = _Copy(pid, supervisor)
            self._selector.register(pidfd, selectors.EVENT_READ)
            with suppress(OSError):  # whoever asked has gone, and the copy goes with them
                socket.send_fds(supervisor, [msgspec.json.encode(Forked(pid=pid))], [pidfd])
        return pid

    def _tell_end(self, pidfd: int) -> None:
        copy = self._copies.pop(pidfd)
        self._selector.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(copy.pid, 0)
        with copy.supervisor, suppress(OSError):
            ended = Ended(returncode=os.waitstatus_to_exitcode(status))
            copy.supervisor.send(msgspec.json.encode(ended))

    def _leave(self, supervisor: socket.socket) -> None:
        """Forget, in a copy, what is the template's."""
        self._selector.close()
        self._listener.close()
        for known in (supervisor, *(copy.supervisor for copy in self._copies.values())):
            known.close()


def main(argv: Sequence[str]) -> int:
    """Be the template, and in each copy a worker; returns the exit status."""
    for part in PARTS:
        import_module(part)
    gc.collect()
    gc.freeze()
    end_niceness()
    with socket.socket(fileno=int(argv[0])) as listener:
        order = Template(listener).run()
    if order is None:
        return 0
    return work(parse_arguments(order.argv[OWN_WORDS:]))


def _refusal(order: ForkOrder) -> str:
    """Say why no copy can be what is ordered; empty if one can."""
    own = dict(_environment())
    if own != order.env:
        names = {name for name, _ in own.items() ^ order.env.items()}
        return f"another environment: {', '.join(sorted(names))}"
    threads = len(list(THREADS.iterdir()))
    return f"{threads} threads run in the template" if threads > 1 else ""


def _packages() -> tuple[int, ...]:
    """Return when something was last put into, or taken out of, where packages lie; nanoseconds."""
    folders = (Path(folder) for folder in site.getsitepackages())
    return tuple(folder.stat().st_mtime_ns for folder in folders if folder.is_dir())


def _environment() -> dict[str, str]:
    """Return the environment that this process was started with, whatever imports made of it."""
    words = ENVIRONMENT.read_bytes().split(b"\0")
    pairs = (os.fsdecode(word).partition("=") for word in words if word)
    return {name: value for name, _, value in pairs}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
