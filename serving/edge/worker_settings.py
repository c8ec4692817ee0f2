"""Tells the workers of this node what the protocol's settings want of them.

Workers come and go, and one that was restarted knows nothing: once a setting was changed, all are
told again and again. Who knows it already does nothing.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import structlog

from serving.edge.protocol_settings import ProtocolSettings
from serving.edge.routes import WorkerAddress
from serving.edge.shared_ask import SharedAsk
from serving.errors import NotReadyError
from serving.local_http import LocalHttp

log = structlog.get_logger(__name__)

AGAIN_S: Final = 2.0
TELL_LIMIT_S: Final = 2.0


class WorkerSettings:
    """Hands the settings on."""

    def __init__(
        self, settings: ProtocolSettings, workers: Callable[[], Iterable[WorkerAddress]]
    ) -> None:
        """Remember the parts.

        Args:
            settings: What is handed on.
            workers: This node's workers at the moment.
        """
        self._settings = settings
        self._workers = workers
        self._has_changed = asyncio.Event()
        self._tell_all = SharedAsk(self._tell_once)

    async def tell(self) -> None:
        """Tell every worker now; one that cannot be reached is told later.

        Never twice at a time: what is told last is what was set last.
        """
        self._has_changed.set()
        await self._tell_all()

    async def _tell_once(self) -> None:
        body = msgspec.json.encode(self._settings.diagnostics())
        async with asyncio.TaskGroup() as group:
            for worker in self._workers():
                group.create_task(_tell(worker, body))

    async def keep_telling(self) -> None:
        """Tell all again and again from the first change on, until cancelled."""
        await self._has_changed.wait()
        while True:
            await asyncio.sleep(AGAIN_S)
            await self.tell()


async def _tell(worker: WorkerAddress, body: bytes) -> None:
    async with LocalHttp(worker.socket) as client:
        try:
            await client.ask("POST", "/worker/diagnostics", body, timeout_s=TELL_LIMIT_S)
        except NotReadyError as error:
            log.debug("worker_not_told", worker=worker.worker, error=error.message)
