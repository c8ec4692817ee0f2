"""Asks one worker every few seconds how its versions' calls went. Belongs to its host's loop."""

import asyncio
from collections import deque
from typing import Final

import msgspec
import structlog

from serving.errors import NotReadyError
from serving.local_http import LocalHttp
from serving.monitor.vitals import VersionVitals, lately

LOOK_S: Final = 5.0
BUSY_LOOKS: Final = 2
"""Between so many looks it is told how busy versions were: a burst of a moment decides nothing."""
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
        past: deque[tuple[VersionVitals, ...]] = deque(maxlen=BUSY_LOOKS)
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                reply = await http.ask("GET", "/worker/vitals")
                if reply.status == OK:
                    said = msgspec.json.decode(reply.body, type=tuple[VersionVitals, ...])
                    self.found = lately(past, said) if len(past) == BUSY_LOOKS else said
                    past.append(said)
            except (NotReadyError, msgspec.MsgspecError) as error:
                log.debug("worker_without_vitals", reason=str(error))
