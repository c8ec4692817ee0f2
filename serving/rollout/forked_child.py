"""A worker that the template forked: ordered, watched, stopped like any other child.

Its parent is the template (`serving/worker/template.py`), which tells how it ended; without the
template nobody knows. Its standard input is a pipe of ours, so that it dies with us.
"""

import asyncio
import os
import socket
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog

from serving.supervise import Child, ChildSpec, Exit, open_log
from serving.worker.fork_order import (
    FDS_OF_FORKED,
    MAX_MESSAGE_BYTES,
    Ended,
    Forked,
    ForkOrder,
)

log = structlog.get_logger(__name__)

FORK_LIMIT_S: Final = 20.0
"""A template that imports yet is worth waiting for: starting a worker takes as long."""
STATUS_LIMIT_S: Final = 1.0
FORKABLE: Final = (sys.executable, "-m", "serving.worker")


class ForkedChild(Child):
    """A running copy of the template and, later, how it ended."""

    def __init__(
        self, name: str, pid: int, pidfd: int, template: socket.socket, stdin: int
    ) -> None:
        """Watch a process; use `fork`."""
        super().__init__(name, pid, pidfd=pidfd)
        self._template = template
        self._stdin = stdin

    def _on_end(self) -> None:
        """Wait for the status, which is on its way, unless the template has gone or hangs."""
        self._loop.remove_reader(self._pidfd)
        late = self._loop.call_later(STATUS_LIMIT_S, self._finish)
        self._loop.add_reader(self._template, self._finish, late)

    def _finish(self, late: asyncio.TimerHandle | None = None) -> None:
        if late is not None:
            late.cancel()
        self._loop.remove_reader(self._template)
        with suppress(BlockingIOError, ConnectionError, msgspec.DecodeError):
            ended = msgspec.json.decode(self._template.recv(MAX_MESSAGE_BYTES), type=Ended)
            self._close(Exit(ended.returncode))
            return
        self._close(Exit(None))

    def _close(self, ending: Exit) -> None:
        self._loop.remove_reader(self._template)
        self._template.close()
        os.close(self._stdin)
        super()._close(ending)


async def fork(template: Path | None, spec: ChildSpec) -> ForkedChild | None:
    """Have a worker forked; None if it is to be started instead.

    Args:
        template: Where the template listens; None: there is none.
        spec: The worker. One with another interpreter than ours is no copy of anything here.
    """
    if template is None or spec.argv[: len(FORKABLE)] != FORKABLE:
        return None
    with ExitStack() as opened:
        try:
            connection = opened.enter_context(_connected(template))
            stdin = _send_order(connection, spec)
            opened.callback(os.close, stdin)
            async with asyncio.timeout(FORK_LIMIT_S):
                await _readable(connection)
            raw, pidfds, _, _ = socket.recv_fds(connection, MAX_MESSAGE_BYTES, FDS_OF_FORKED)
            forked = msgspec.json.decode(raw, type=Forked)
        except TimeoutError:  # nobody shall wait for it again
            _give_up(template, spec)
            return None
        except (OSError, UnicodeEncodeError, msgspec.DecodeError) as error:
            log.info("worker_not_forked", child=spec.name, reason=repr(error))
            return None
        if not pidfds:
            log.info("worker_not_forked", child=spec.name, reason=forked.refusal)
            return None
        opened.pop_all()
        return ForkedChild(spec.name, forked.pid, pidfds[0], connection, stdin)


def _give_up(template: Path, spec: ChildSpec) -> None:
    log.warning("template_hangs", child=spec.name, waited_s=FORK_LIMIT_S)
    template.unlink(missing_ok=True)


def _connected(template: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.setblocking(False)  # noqa: FBT003  the library's own way
        connection.connect(str(template))
    except OSError:
        connection.close()
        raise
    return connection


def _send_order(connection: socket.socket, spec: ChildSpec) -> int:
    """Send what is wanted; return our end of the worker's standard input.

    Raises:
        OSError: The template does not take it.
        UnicodeEncodeError: An argument or a variable is no UTF-8.
    """
    order = ForkOrder(argv=spec.argv, env=dict(spec.env), niceness=spec.niceness)
    message = msgspec.json.encode(order)
    stdin, ours = os.pipe()
    try:
        with open_log(spec.log_file) as output:
            fds = [stdin, output.fileno()]
            socket.send_fds(connection, [message], fds)
    except OSError:
        os.close(ours)
        raise
    finally:
        os.close(stdin)
    return ours


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    is_readable = loop.create_future()
    loop.add_reader(connection, is_readable.set_result, None)
    try:
        await is_readable
    finally:
        loop.remove_reader(connection)
