"""Watches over what is served, and over the watching: alarms, and the self-test that they ring."""

from collections.abc import Callable, Mapping

import structlog

from runtimes.bounded_file import read_bounded_text
from runtimes.errors import InvalidArgumentError
from serving.clock import Clock
from serving.errors import NotFoundError
from serving.events.courier import events_file_of
from serving.events.receivers_file import read_receivers
from serving.ids import VersionKey
from serving.monitor.alarms.latch import StandingAlarm
from serving.monitor.alarms.service_signs import Promise
from serving.monitor.alarms.silence import Heard
from serving.monitor.alerting.slo import (
    DEFAULT,
    MAX_SLO_BYTES,
    Slo,
    availability_of,
    latency_of,
    read_slo,
)
from serving.monitor.selftest.trial import SelfTest
from serving.monitor.selftest.version_trials import Tried
from serving.registry.announcing.drift_book import DriftBook
from serving.registry.version import ServedVersion, VersionSpec
from serving.rollout.alarm_watch import AlarmWatch, WatchedRows
from serving.rollout.drift.watch import DriftWatch
from serving.rollout.ports import Cluster
from serving.rollout.self_test import SelfTester
from serving.settings import Settings

log = structlog.get_logger(__name__)

Wanted = Callable[[], Mapping[VersionKey, VersionSpec]]


class Watching:
    """Belongs to the controller's loop."""

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        wanted: Wanted,
        drift: DriftWatch | None,
        book: DriftBook | None,
        clock: Clock,
    ) -> None:
        """Build the parts.

        Args:
            settings: Say where promises and receivers are written.
            cluster: Whose workers are looked at.
            wanted: Which versions there are.
            drift: The monitor of drift; None: there is none.
            book: Tells receivers of alarms; None: nobody is told.
            clock: Dates them.
        """
        self._slo = _known_slo(settings)
        self._cluster = cluster
        self._wanted = wanted
        self._drift = drift
        self._clock = clock
        self._rows_per_s = settings.drift_rows_per_s
        self._alarms = AlarmWatch(
            cluster,
            wanted,
            self._promise,
            WatchedRows(heard=self._heard, rows_per_s=settings.drift_rows_per_s),
            book,
            clock,
        )
        file = events_file_of(settings)
        self._tester = SelfTester(lambda: read_receivers(file), clock)

    @property
    def alarms(self) -> tuple[StandingAlarm, ...]:
        """What is wrong now."""
        return self._alarms.standing

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._alarms.run()

    async def self_test(self, model: str | None) -> SelfTest:
        """Try every alarm of a model's versions, or of all.

        Raises:
            NotFoundError: No version of it is served.
        """
        served = self._served()
        profiles = {} if self._drift is None else self._drift.profiles()
        heard = self._heard()
        found = [
            Tried(
                spec=spec,
                served=served.get(key),
                promise=self._promise(key.model),
                profile=profiles.get(key),
                drift_trouble=heard.get(key, Heard()).trouble,
                rows_per_s=self._rows_per_s,
                now_s=self._clock.utc_now().timestamp(),
            )
            for key, spec in sorted(self._wanted().items())
            if model in {None, key.model}
        ]
        if model is not None and not found:
            raise NotFoundError(f"no version of '{model}' is served: see `bascule status`")
        return await self._tester.run(found)

    def _served(self) -> dict[VersionKey, ServedVersion]:
        return {
            key: hosted.served
            for workers in self._cluster.observe().values()
            for worker in workers
            for key, hosted in worker.versions.items()
            if hosted.served is not None
        }

    def _heard(self) -> dict[VersionKey, Heard]:
        return {} if self._drift is None else self._drift.heard()

    def _promise(self, model: str) -> Promise:
        latency = latency_of(self._slo, model)
        return Promise(
            availability=availability_of(self._slo, model),
            threshold_s=latency.threshold_s,
            fast_share=latency.target,
        )


def slo_of(settings: Settings) -> Slo:
    """Read what callers were promised; the file that is named has to be there.

    Raises:
        InvalidArgumentError: It cannot be read, or says something that it cannot say.
    """
    file = settings.slo_file or settings.home / "slo.yaml"
    try:
        return read_slo(read_bounded_text(file, MAX_SLO_BYTES))
    except FileNotFoundError:
        if settings.slo_file is None:
            return DEFAULT
        raise InvalidArgumentError(f"{file} is not there: BASCULE_SLO_FILE names it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"{file} cannot be read: {error}") from error


def _known_slo(settings: Settings) -> Slo:
    """Read it; one that cannot be used must not keep a controller from coming back."""
    try:
        return slo_of(settings)
    except InvalidArgumentError as error:
        log.warning("slo_not_read", error=error.message)
        return DEFAULT
