"""What operators may ask of rollouts: `serving.edge.control.RolloutControl`.

It is longer than most files because all that may be asked stands here, and nothing else.
"""

import asyncio
from typing import Final

from runtimes.errors import InvalidArgumentError
from serving.edge.control import ANONYMOUS, Asked, PageForm, RolloutReport
from serving.errors import AlreadyExistsError, NotFoundError, NotReadyError
from serving.ids import VersionKey
from serving.registry.contracts.data_contract import DataContract
from serving.registry.rollouts.book import RolloutBook
from serving.registry.rollouts.forecast import Forecast, Need
from serving.registry.rollouts.plan import Plan, Strategy, require_sound
from serving.registry.rollouts.record import ENDED, Order, Rollout, RolloutState, hindrance
from serving.rollout.driven import Ports
from serving.rollout.engine.driver import RolloutDriver
from serving.rollout.engine.forecasting import Known, forecast, need_of_row, need_of_spec
from serving.rollout.engine.machine import no_shares
from serving.rollout.engine.served import is_obeyed, is_ready, live_of
from serving.rollout.engine.settling import quality_test, settled
from serving.rollout.loop import ControlLoop
from serving.rollout.report.writing import written

ALONE: Final = frozenset({Strategy.BLUE_GREEN, Strategy.RECREATE})
"""Strategies that need no live version to begin with."""


class RolloutOperations:
    """Belongs to the controller, and to its event loop."""

    def __init__(self, loop: ControlLoop, ports: Ports, sticky_headers: tuple[str, ...]) -> None:
        """Remember the parts.

        Args:
            loop: Makes changes take effect.
            ports: What it drives.
            sticky_headers: Those that edges look at.
        """
        self._sticky_headers = sticky_headers
        self._control_loop = loop
        self._book = ports.rollouts
        self._free_room = ports.free_room
        self._driver = (
            None
            if ports.rollouts is None
            else RolloutDriver(loop, ports.rollouts, ports.cluster, ports.clock, ports.labels)
        )

    async def run_rollouts(self) -> None:
        """Carry rollouts out until cancelled."""
        if self._driver is not None:
            await self._driver.run()

    async def start_rollout(
        self, model: str, version: int, plan: Plan, asked: Asked = ANONYMOUS
    ) -> Rollout:
        """Begin to move a model's traffic to a version; returns when that is recorded.

        Raises:
            NotFoundError: There is no such model or version.
            AlreadyExistsError: A rollout of the model is under way.
            InvalidArgumentError: The plan cannot work, or the version is live already, or both
                versions do not fit.
        """
        await self.refuse_during_rollout(model)  # what is live may be about to change
        found = await self.plan_rollout(model, version, plan)
        if found.misfit and not plan.is_forced:
            raise InvalidArgumentError(_refusal(found))
        return await self._driving().begin(
            VersionKey(model, version),
            found.from_version,
            settled(plan, found.data_quality),
            asked,
            found,
        )

    async def plan_rollout(self, model: str, version: int, plan: Plan) -> Forecast:
        """Say what a rollout would do; nothing is changed.

        Raises:
            NotFoundError: There is no such model or version.
            InvalidArgumentError: The plan cannot work, or the version is live already.
        """
        live = await self._start_of(model, version, plan)
        key = VersionKey(model, version)
        known = await asyncio.to_thread(self._known, key, live, plan)
        return forecast(key, live, plan, self._control_loop.snapshot, known)

    async def _start_of(self, model: str, version: int, plan: Plan) -> int | None:
        """Return what is live, if the plan can be begun."""
        require_sound(plan)
        if plan.sticky_by and plan.sticky_by not in self._sticky_headers:
            raise InvalidArgumentError(
                f"sticky_by: edges look at {', '.join(self._sticky_headers)}, not at "
                f"'{plan.sticky_by}': start with BASCULE_STICKY_HEADERS={plan.sticky_by}"
            )
        known = await self._known_versions(model)
        if version not in known:
            has = f"it has {', '.join(map(str, sorted(known)))}" if known else "push it first"
            raise NotFoundError(f"Request for unknown model: '{model}' version {version}: {has}")
        live = self._live(model)
        if live == version:
            raise InvalidArgumentError(f"version {version} of '{model}' is live already")
        is_compared = plan.has_shadow or plan.strategy not in ALONE
        if live is None and is_compared:
            raise InvalidArgumentError(
                f"'{model}' has no live version that a {plan.strategy} rollout could start from: "
                "use blue-green without a shadow"
            )
        versions = self._control_loop.desired.versions
        specs = (versions.get(VersionKey(model, number)) for number in (version, live or 0))
        if plan.steps and any(spec is not None and spec.policy.sequences for spec in specs):
            raise InvalidArgumentError(no_shares(model, plan.strategy))
        return live

    async def order_rollout(self, model: str, order: Order, asked: Asked = ANONYMOUS) -> Rollout:
        """Pause, resume, abort the model's rollout, or skip a step of it.

        Raises:
            NotFoundError: None is under way.
            InvalidArgumentError: It makes no sense in the rollout's state.
        """
        return await self._driving().order(model, order, asked)

    async def rollback(self, model: str, asked: Asked = ANONYMOUS) -> Rollout:
        """Give all traffic to the version that was live before; returns when that is so.

        Raises:
            NotFoundError: There is no such model, or no version before, or it is gone.
            NotReadyError: The version before cannot serve, or a rollback that is under way is
                paused: nothing has changed. Or an aborted rollout ended otherwise than by its
                return.
        """
        driver, book = self._driving(), self._kept()
        under_way = await asyncio.to_thread(book.active, model)
        if under_way and under_way[0].plan.strategy is Strategy.ROLLBACK:
            return await self._joined(driver, under_way[0])
        if under_way:
            return await self._aborted(driver, under_way[0], asked)
        live = self._live(model)
        before = await asyncio.to_thread(book.live_before, model, live)
        if before is None:
            raise NotFoundError(
                f"'{model}' has no version before {live or 'this one'} that was live: name one "
                f"with bascule promote {model} --to VERSION"
            )
        key = VersionKey(model, before)
        is_loaded = is_ready(self._control_loop, key)
        if not is_loaded and before not in await self._known_versions(model):
            raise NotFoundError(
                f"version {before} of '{model}', which was live before, is gone: push its bundle "
                f"again, or name another with bascule promote {model} --to VERSION"
            )
        try:
            begun = await driver.begin(key, live, Plan(strategy=Strategy.ROLLBACK), asked)
        except AlreadyExistsError:
            faster = await asyncio.to_thread(book.active, model)  # asked for at the same moment
            if not faster or faster[0].plan.strategy is not Strategy.ROLLBACK:
                raise
            begun = faster[0]
        return await self._completed(driver, begun)

    async def rollouts(self, model: str | None = None) -> tuple[Rollout, ...]:
        """Return the latest rollouts, of a model or of all, newest first."""
        return await asyncio.to_thread(self._kept().history, model)

    async def rollout(self, number: int) -> RolloutReport:
        """Return one rollout with all its changes.

        Raises:
            NotFoundError: There is none of that number.
        """
        rollout, transitions = await asyncio.to_thread(self._kept().found, number)
        seen = self._driving().seen(number)
        return RolloutReport(rollout=rollout, transitions=transitions, seen=seen)

    async def rollout_page(self, number: int, form: PageForm) -> str:
        """Write one page about a rollout, with what is compared now.

        Raises:
            NotFoundError: There is none of that number.
        """
        driver, book = self._driving(), self._kept()
        now = driver.kept(await asyncio.to_thread(book.one, number))
        seen = driver.seen(number)
        return await asyncio.to_thread(written, book.registry, number, form, now=now, seen=seen)

    async def refuse_during_rollout(self, model: str, version: int | None = None) -> None:
        """Let nobody else move a model's traffic, or take its versions, while a rollout does.

        Args:
            model: Whose traffic.
            version: Only a rollout that this version takes part in is in the way; None: any.

        Raises:
            AlreadyExistsError: One is under way.
        """
        if self._book is None:
            return
        hindered = hindrance(await asyncio.to_thread(self._book.active, model), model, version)
        if hindered:
            raise AlreadyExistsError(hindered)

    def _known(self, key: VersionKey, live: int | None, plan: Plan) -> Known:
        old = None if live is None else self._need(VersionKey(key.model, live))
        test = quality_test(
            plan.guardrails,
            None if live is None else self._contract(VersionKey(key.model, live)),
            self._contract(key),
            has_live=live is not None,
        )
        return Known(
            old=old,
            new=self._need(key),
            room=None if self._free_room is None else self._free_room(),
            missing=self._kept().missing_approval_count(key),
            data_quality=test,
        )

    def _contract(self, key: VersionKey) -> DataContract | None:
        spec = self._control_loop.desired.versions.get(key)
        return self._kept().contract(key) if spec is None else spec.contract

    def _need(self, key: VersionKey) -> Need | None:
        row = self._kept().registered(key)
        if row is not None:
            return need_of_row(row)
        spec = self._control_loop.desired.versions.get(key)
        return None if spec is None else need_of_spec(spec)

    async def _joined(self, driver: RolloutDriver, rollout: Rollout) -> Rollout:
        """Wait for a rollback that somebody asked for before: it does what is asked for now."""
        if rollout.is_paused:
            raise NotReadyError(
                f"{_way_back(rollout)}: rollout {rollout.id} is paused (bascule rollout resume "
                f"{rollout.model})"
            )
        return await self._completed(driver, rollout)

    async def _completed(self, driver: RolloutDriver, rollout: Rollout) -> Rollout:
        """Return a rollback when it has ended well."""
        ended = await driver.ended(rollout.id)
        if ended.state is not RolloutState.COMPLETE:
            raise NotReadyError(f"{_way_back(ended)}: {ended.note}")
        return self._obeyed(ended)

    def _obeyed(self, ended: Rollout) -> Rollout:
        """Return what has ended, unless it ended by a limit or an order before edges obeyed."""
        is_untouched = ended.state is RolloutState.FAILED  # it never moved anything
        if is_untouched or is_obeyed(self._control_loop.snapshot, ended):
            return ended
        raise NotReadyError(
            f"rollback of '{ended.model}': rollout {ended.id} is {ended.state}, and version "
            f"{ended.live_version} does not have all calls at every edge: {ended.note or '-'} "
            "(bascule status)"
        )

    async def _aborted(self, driver: RolloutDriver, rollout: Rollout, asked: Asked) -> Rollout:
        """Abort a rollout if it is not on its way back already; return it when it has ended."""
        if rollout.state is not RolloutState.ROLLING_BACK:
            rollout = await driver.order(rollout.model, Order.ABORT, asked)
        if rollout.state not in {RolloutState.ROLLING_BACK, *ENDED}:
            raise NotReadyError(f"rollback of '{rollout.model}': {rollout.note}")
        return self._obeyed(await driver.ended(rollout.id))

    async def _known_versions(self, model: str) -> set[int]:
        desired = self._control_loop.desired
        wanted = {key.version for key in desired.versions if key.model == model}
        failed = {key.version for key in desired.failed if key.model == model}
        return wanted | failed | set(await asyncio.to_thread(self._kept().loadable, model))

    def _live(self, model: str) -> int | None:
        """Return what shall be live: the pin, also while it is away."""
        return live_of(self._control_loop, model)

    def _driving(self) -> RolloutDriver:
        if self._driver is None:
            raise NotReadyError("this instance keeps no rollouts")
        return self._driver

    def _kept(self) -> RolloutBook:
        if self._book is None:
            raise NotReadyError("this instance keeps no rollouts")
        return self._book


def _way_back(rollout: Rollout) -> str:
    return f"rollback of '{rollout.model}' to version {rollout.to_version}"


def _refusal(found: Forecast) -> str:
    key = f"{found.model}:{found.to_version}"
    if found.strategy is Strategy.RECREATE:
        return f"{key} does not fit, even without the live version: {found.misfit}"
    return (
        f"{key} does not fit beside version {found.from_version or '-'}: {found.misfit}; use "
        "--strategy recreate, which unloads the live version first (bascule rollout plan says for "
        "how long nobody answers), or --force --reason TEXT"
    )
