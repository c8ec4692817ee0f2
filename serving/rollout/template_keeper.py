"""Keeps this node's template of workers running: `serving/worker/template.py`.

Without one, workers are started the long way, and another one is made meanwhile. Its socket is ours
and listens before it runs, so that who wants a worker at the same moment waits for it. Who waited
in vain takes the socket's file away (`forked_child.py`): then this template hangs, and is ended.
"""

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from serving.clock import Clock
from serving.edge.node_gpus import seen_devices, shared_gpus
from serving.errors import NotReadyError
from serving.rollout.loading_priority import first_start
from serving.settings import Settings
from serving.supervise import Child, ChildSpec, RestartPolicy, child_environment

log = structlog.get_logger(__name__)

ROOM: Final = " " * 4096
"""Where a copy writes its command line."""
BACKLOG: Final = 1024
LOOK_PAUSE_S: Final = 1.0


def template_socket(settings: Settings) -> Path:
    """Where the template of a node's workers listens."""
    return settings.run_dir / "w" / "template.ctl"


async def keep_template(settings: Settings, instance: str, clock: Clock) -> None:
    """Run a template, and another one whenever it has ended, until cancelled."""
    policy, quick_end_count = RestartPolicy(), 0
    seen = seen_devices(settings, "", shared_gpus(settings))
    env = child_environment(settings.home, instance, CUDA_VISIBLE_DEVICES=seen)
    while True:
        began_s = clock.monotonic_s()
        try:
            with _listening(template_socket(settings)) as listener:
                ending = await _live(settings, env, listener.fileno())
        except OSError as error:  # there is no place for a socket: nobody shall fail by that
            ending = str(error)
        is_stable = clock.monotonic_s() - began_s >= policy.stable_s
        quick_end_count = 1 if is_stable else quick_end_count + 1
        log.warning("template_ended", ending=ending)
        await asyncio.sleep(policy.pause_s(quick_end_count))


async def _live(settings: Settings, env: Mapping[str, str], listener: int) -> str:
    """Run one template; return how it ended."""
    spec = ChildSpec(
        name="template of workers",
        argv=(sys.executable, "-m", "serving.worker.template", str(listener), ROOM),
        env=env,
        log_file=settings.log_dir / "template.log",
        listener=listener,
        hears_sigterm=False,
    )
    try:
        child = Child.start(first_start(spec, template_socket(settings)))
    except NotReadyError as error:
        return error.message
    try:
        return await _ending(child, template_socket(settings).exists)
    finally:
        if child.ended is None:
            await child.stop(0.0)


async def _ending(child: Child, is_trusted: Callable[[], bool]) -> str:
    """Wait until a template ends, or somebody found that it hangs."""
    ended = asyncio.ensure_future(child.wait())
    try:
        while is_trusted():
            if (await asyncio.wait((ended,), timeout=LOOK_PAUSE_S))[0]:
                return ended.result().text
    finally:
        ended.cancel()
    return "it does not answer"


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        own = path.stat().st_ino
        listener.listen(BACKLOG)
        try:
            yield listener
        finally:
            _remove(path, own)


def _remove(path: Path, own: int) -> None:
    """Take our socket's file away, unless it is that of a keeper who came after us."""
    with suppress(FileNotFoundError):
        if path.stat().st_ino == own:
            path.unlink()
