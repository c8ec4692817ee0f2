"""One worker's part in watching for drift: asked for its sums, of which the new ones are kept.

What the worker has told stays here until it is told again or the worker ends, so that whoever reads
it late has it all: at most `KEPT_RECORDS` blocks a version.
"""

import asyncio
from typing import Final

import msgspec
import structlog

from serving.errors import NotReadyError
from serving.local_http import LocalHttp
from serving.monitor.drift.stream import Reports, joined, latest
from serving.worker.drift.route import DriftQuestion

LOOK_S: Final = 1.0
IDLE_LOOK_S: Final = 2.0
"""While the worker watches nothing."""
OK: Final = 200
NOT_FOUND: Final = 404

log = structlog.get_logger(__name__)


class DriftLink:
    """Belongs to the loop of a worker's host."""

    def __init__(self) -> None:
        """Know nothing."""
        self._reports: Reports = ()

    @property
    def reports(self) -> Reports:
        """What the worker has told of every version that it watches."""
        return self._reports

    async def run(self, http: LocalHttp) -> None:
        """Ask one life of the worker, by its control channel, until cancelled."""
        self._reports = ()
        while True:
            try:
                is_off = not await self._ask(http)
            except (NotReadyError, msgspec.DecodeError, msgspec.ValidationError) as error:
                log.debug("worker_without_drift", reason=str(error))
                is_off = False
            if is_off:
                return
            await asyncio.sleep(LOOK_S if self.reports else IDLE_LOOK_S)

    async def _ask(self, http: LocalHttp) -> bool:
        """Take in what is new; False: this worker watches nothing, ever."""
        body = msgspec.json.encode(DriftQuestion(known=latest(self._reports)))
        reply = await http.ask("POST", "/worker/drift", body)
        if reply.status == NOT_FOUND:
            return False
        if reply.status != OK:
            raise NotReadyError(f"status {reply.status}")
        told = msgspec.json.decode(reply.body, type=Reports)
        hosted = {(report.model, report.version) for report in told}
        known = joined(self._reports, told)
        self._reports = tuple(one for one in known if (one.model, one.version) in hosted)
        return True
