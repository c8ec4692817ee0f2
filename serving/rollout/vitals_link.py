"""Asks one worker every few seconds how its versions' calls went. Belongs to its host's loop."""

import asyncio
from typing import Final

import msgspec
import structlog

from serving.errors import NotReadyError
from serving.local_http import LocalHttp
from serving.monitor.vitals import VersionVitals

LOOK_S: Final = 5.0
OK: Final = 200

log = structlog.get_logger(__name__)


class VitalsLink:
    """What one worker said last."""

    def __init__(self) -> None:
        """Know nothing."""
        self.found: tuple[VersionVitals, ...] = ()

    async def run(self, http: LocalHttp) -> None:
        """Ask one life of the worker, by its control channel, until cancelled."""
        self.found = ()
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                reply = await http.ask("GET", "/worker/vitals")
                if reply.status == OK:
                    self.found = msgspec.json.decode(reply.body, type=tuple[VersionVitals, ...])
            except (NotReadyError, msgspec.MsgspecError) as error:
                log.debug("worker_without_vitals", reason=str(error))
