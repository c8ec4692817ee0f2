"""`Control` for the front desk of an edge: the controller's methods through its Serve handle.

A failure that the controller raised on purpose arrives as the same error. Anything else that Ray
says means that the controller is away for the moment: it comes back by itself, so the caller is
told to try again.
"""

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

import ray
from ray import serve
from ray.serve.exceptions import RayServeException

from runtimes.errors import BasculeError
from serving.cluster.names import CONTROLLER_APP
from serving.edge.control import (
    ANONYMOUS,
    Asked,
    ClusterStatus,
    LoadOverride,
    PageForm,
    RolloutReport,
)
from serving.errors import NotReadyError
from serving.monitor.alarms.latch import StandingAlarm
from serving.monitor.drift.view import DriftAlarm, VersionDrift
from serving.monitor.selftest.trial import SelfTest
from serving.registry.rollouts.forecast import Forecast
from serving.registry.rollouts.plan import Plan
from serving.registry.rollouts.record import Order, Rollout

STATUS_LIMIT_S: Final = 10.0
CHANGE_LIMIT_S: Final = 900.0

R = TypeVar("R")


class RemoteControl:
    """Implements `serving.edge.control.Control`; the handle is looked up once."""

    def __init__(self) -> None:
        """Nothing is connected yet: the controller may be started later than the edge."""
        self._handle: serve.handle.DeploymentHandle | None = None

    async def status(self) -> ClusterStatus:
        """Return everything that `bascule status` shows."""
        return await answered(self._controller().status.remote(), STATUS_LIMIT_S)

    async def wake(self, model: str, version: int) -> None:
        """Have a worker started for a version that has none."""
        await answered(self._controller().wake.remote(model, version), STATUS_LIMIT_S)

    async def load(self, model: str, override: LoadOverride | None = None) -> None:
        """Load or reload a model of the repository."""
        await answered(self._controller().load.remote(model, override), CHANGE_LIMIT_S)

    async def unload(self, model: str, *, dependents: bool = False) -> None:
        """Unload every version of a repository model."""
        call = self._controller().unload.remote(model, dependents=dependents)
        await answered(call, CHANGE_LIMIT_S)

    async def promote(self, model: str, version: int, asked: Asked = ANONYMOUS) -> int:
        """Make a version the live one."""
        call = self._controller().promote.remote(model, version, asked)
        return await answered(call, CHANGE_LIMIT_S)

    async def sync(self) -> None:
        """Read the catalog and the repository again."""
        await answered(self._controller().sync.remote(), CHANGE_LIMIT_S)

    async def retire(self, model: str, version: int | None, asked: Asked = ANONYMOUS) -> None:
        """Unload one version, or all of a model, whatever the mode."""
        await answered(self._controller().retire.remote(model, version, asked), CHANGE_LIMIT_S)

    async def start_rollout(
        self, model: str, version: int, plan: Plan, asked: Asked = ANONYMOUS
    ) -> Rollout:
        """Begin to move a model's traffic to a version."""
        call = self._controller().start_rollout.remote(model, version, plan, asked)
        return await answered(call, CHANGE_LIMIT_S)

    async def plan_rollout(self, model: str, version: int, plan: Plan) -> Forecast:
        """Say what a rollout would do; nothing is changed."""
        call = self._controller().plan_rollout.remote(model, version, plan)
        return await answered(call, CHANGE_LIMIT_S)

    async def order_rollout(self, model: str, order: Order, asked: Asked = ANONYMOUS) -> Rollout:
        """Pause, resume, abort the model's rollout, or skip a step of it."""
        call = self._controller().order_rollout.remote(model, order, asked)
        return await answered(call, CHANGE_LIMIT_S)

    async def rollback(self, model: str, asked: Asked = ANONYMOUS) -> Rollout:
        """Give all traffic to the version that was live before."""
        call = self._controller().rollback.remote(model, asked)
        return await answered(call, CHANGE_LIMIT_S)

    async def rollouts(self, model: str | None = None) -> tuple[Rollout, ...]:
        """Return the latest rollouts, newest first."""
        call = self._controller().rollouts.remote(model)
        return await answered(call, STATUS_LIMIT_S)

    async def rollout(self, number: int) -> RolloutReport:
        """Return one rollout with all its changes."""
        call = self._controller().rollout.remote(number)
        return await answered(call, STATUS_LIMIT_S)

    async def rollout_page(self, number: int, form: PageForm) -> str:
        """Write one page about a rollout."""
        call = self._controller().rollout_page.remote(number, form)
        return await answered(call, STATUS_LIMIT_S)

    async def drift(self, model: str | None = None) -> tuple[VersionDrift, ...]:
        """Describe the versions that are watched for drift, of a model or all."""
        return await answered(self._controller().drift.remote(model), STATUS_LIMIT_S)

    async def alarms(self) -> tuple[StandingAlarm, ...]:
        """Describe what is wrong now, drift aside."""
        return await answered(self._controller().alarms.remote(), STATUS_LIMIT_S)

    async def self_test(self, model: str | None) -> SelfTest:
        """Try every alarm of a model's versions, or of all."""
        return await answered(self._controller().self_test.remote(model), CHANGE_LIMIT_S)

    async def acknowledge_drift(
        self, model: str, version: int | None, alarm: str, asked: Asked
    ) -> tuple[DriftAlarm, ...]:
        """Note that somebody has seen alarms of a model; return which."""
        call = self._controller().acknowledge_drift.remote(model, version, alarm, asked)
        return await answered(call, CHANGE_LIMIT_S)

    def _controller(self) -> serve.handle.DeploymentHandle:
        if self._handle is None:
            try:
                self._handle = serve.get_app_handle(CONTROLLER_APP)
            except RayServeException as error:
                raise NotReadyError("the controller has not started yet: try again") from error
        return self._handle


async def answered(response: Awaitable[R], limit_s: float) -> R:
    """Wait for a reply of another actor.

    Raises:
        BasculeError: As that actor raised it.
        NotReadyError: That actor is away, or gave no answer in time.
    """
    try:
        async with asyncio.timeout(limit_s):
            return await response
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, BasculeError):
            raise error.cause from error
        raise NotReadyError(f"the controller failed: {error.cause!r}") from error
    except (ray.exceptions.RayError, RayServeException) as error:
        raise NotReadyError(
            "the controller is restarting: predictions go on, try again in a few seconds"
        ) from error
    except TimeoutError as error:
        raise NotReadyError(f"the controller gave no answer within {limit_s:.0f} s") from error
