"""A controller that remembers what it was asked, and answers with what it was given."""

from dataclasses import dataclass, field

from runtimes.errors import BasculeError
from serving.edge.control import (
    ANONYMOUS,
    Asked,
    ClusterStatus,
    LoadOverride,
    PageForm,
    RolloutReport,
    WorkerStatus,
)
from serving.monitor.alarms.latch import StandingAlarm
from serving.monitor.drift.view import DriftAlarm, VersionDrift
from serving.monitor.selftest.trial import SelfTest
from serving.registry.rollouts.forecast import Forecast
from serving.registry.rollouts.plan import Plan
from serving.registry.rollouts.record import Order, Rollout, RolloutState
from tests.fakes.rollouts import rollout_record


@dataclass(slots=True)
class FakeControl:
    """Implements `serving.edge.control.Control`."""

    asked: list[tuple[object, ...]] = field(default_factory=list)
    failure: BasculeError | None = None
    """Raised by every change."""
    who: list[str] = field(default_factory=list)
    """Who asked for promotions and retirements."""
    workers: tuple[WorkerStatus, ...] = ()
    watched: tuple[VersionDrift, ...] = ()

    async def status(self) -> ClusterStatus:
        """An empty cluster with the given workers."""
        return ClusterStatus(
            mode="standalone",
            home="/home",
            model_control="none",
            revision=7,
            ready=True,
            settled=True,
            live={"m": 1},
            versions=(),
            workers=self.workers,
            edges=(),
            http="127.0.0.1:8000",
            grpc="127.0.0.1:8001",
            metrics="127.0.0.1:8002",
        )

    async def drift(self, model: str | None = None) -> tuple[VersionDrift, ...]:
        """Describe what was given."""
        return tuple(one for one in self.watched if model in {None, one.model})

    async def acknowledge_drift(
        self, model: str, version: int | None, alarm: str, asked: Asked
    ) -> tuple[DriftAlarm, ...]:
        """Remember it; there is no alarm."""
        self._ask("acknowledge_drift", model, version, alarm, asked.reason)
        self.who.append(asked.who)
        return ()

    async def alarms(self) -> tuple[StandingAlarm, ...]:
        """Nothing is wrong."""
        return ()

    async def self_test(self, model: str | None) -> SelfTest:
        """Remember it; nothing is tried."""
        self._ask("self_test", model or "")
        return SelfTest(versions=(), receivers=())

    async def wake(self, model: str, version: int) -> None:
        """Remember it."""
        self._ask("wake", model, version)

    async def load(self, model: str, override: LoadOverride | None = None) -> None:
        """Remember it."""
        self._ask("load", model, *(() if override is None else (override,)))

    async def unload(self, model: str, *, dependents: bool = False) -> None:
        """Remember it."""
        self._ask("unload", model, *([dependents] if dependents else []))

    async def promote(self, model: str, version: int, asked: Asked = ANONYMOUS) -> int:
        """Remember it; the revision is 8."""
        self._ask("promote", model, version, asked.is_forced, asked.reason)
        self.who.append(asked.who)
        return 8

    async def sync(self) -> None:
        """Remember it."""
        self._ask("sync")

    async def retire(self, model: str, version: int | None, asked: Asked = ANONYMOUS) -> None:
        """Remember it."""
        self._ask("retire", model, version)
        self.who.append(asked.who)

    async def start_rollout(
        self, model: str, version: int, plan: Plan, asked: Asked = ANONYMOUS
    ) -> Rollout:
        """Remember it."""
        self._ask("start_rollout", model, version, plan, asked.reason)
        self.who.append(asked.who)
        return rollout_record(model=model, to_version=version, plan=plan)

    async def plan_rollout(self, model: str, version: int, plan: Plan) -> Forecast:
        """Say that all goes well."""
        self._ask("plan_rollout", model, version, plan)
        return Forecast(
            model=model,
            from_version=1,
            to_version=version,
            strategy=plan.strategy,
            stages=(),
            at_least_s=0,
            missing_approval_count=0,
            breaks="",
            old=None,
            new=None,
            room=None,
            misfit="",
            downtime="",
        )

    async def order_rollout(self, model: str, order: Order, asked: Asked = ANONYMOUS) -> Rollout:
        """Remember it."""
        self._ask("order_rollout", model, order, asked.reason)
        self.who.append(asked.who)
        return rollout_record(model=model)

    async def rollback(self, model: str, asked: Asked = ANONYMOUS) -> Rollout:
        """Remember it."""
        self._ask("rollback", model, asked.reason)
        self.who.append(asked.who)
        return rollout_record(model=model, state=RolloutState.ROLLED_BACK)

    async def rollouts(self, model: str | None = None) -> tuple[Rollout, ...]:
        """One, of the model that was asked for."""
        return (rollout_record(model=model or "m"),)

    async def rollout(self, number: int) -> RolloutReport:
        """One without changes."""
        return RolloutReport(rollout=rollout_record(id=number), transitions=())

    async def rollout_page(self, number: int, form: PageForm) -> str:
        """Name what was asked for."""
        return f"{form} of {number}"

    def _ask(self, *question: object) -> None:
        self.asked.append(question)
        if self.failure is not None:
            raise self.failure
