"""Asks one worker several times a second how much it has to do for versions that are scaled."""

import asyncio
from typing import Final

import msgspec
import structlog

from serving.errors import NotReadyError
from serving.local_http import LocalHttp
from serving.monitor.load import VersionLoad

LOOK_S: Final = 0.25
OK: Final = 200

log = structlog.get_logger(__name__)


class LoadLink:
    """What one worker said last."""

    def __init__(self) -> None:
        """Know nothing."""
        self.found: tuple[VersionLoad, ...] = ()
        self.is_wanted = False
        """Whether the worker hosts anything that is scaled."""

    async def run(self, http: LocalHttp) -> None:
        """Ask one life of the worker, by its control channel, until cancelled."""
        self.found = ()
        while True:
            await asyncio.sleep(LOOK_S)
            if not self.is_wanted:
                continue
            try:
                reply = await http.ask("GET", "/worker/load")
                if reply.status == OK:
                    self.found = msgspec.json.decode(reply.body, type=tuple[VersionLoad, ...])
            except (NotReadyError, msgspec.MsgspecError) as error:
                log.debug("worker_without_load", reason=str(error))
