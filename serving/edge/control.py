"""What the front desk knows of the cluster (`Snapshot`), and what it may ask of the controller.

The snapshot is published with the routes, so metadata, configuration and readiness are answered
without the controller; only changes (load, promote, …) need it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol

from runtimes.findings import Finding
from serving.edge.routes import RouteTable
from serving.events.receivers import Tally
from serving.ids import VersionKey
from serving.monitor.alarms.latch import StandingAlarm
from serving.monitor.drift.view import DriftAlarm, VersionDrift
from serving.monitor.environment.records import GpuError, Issue
from serving.monitor.labels.summary import LabelSummary
from serving.monitor.selftest.trial import SelfTest
from serving.registry.rollouts.forecast import Forecast
from serving.registry.rollouts.plan import Plan
from serving.registry.rollouts.record import Order, Rollout, Transition
from serving.registry.version import ServedVersion, VersionState

OPERATOR: Final = "operator"
"""Who asked, where nobody can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """A version as the cluster sees it."""

    model: str
    version: int
    state: VersionState
    reason: str = ""
    """Why it is not READY, or what was noticed about it; empty otherwise."""
    pool: str | None = None
    isolation: str = ""
    """`shared` or `dedicated`, with the reason when it was not the operator's wish."""
    origin: str = ""
    config_text: str = ""
    served: ServedVersion | None = None
    findings: tuple[Finding, ...] = ()
    """What was noticed about it before it was placed, and where it runs."""

    @property
    def key(self) -> VersionKey:
        """The version's key."""
        return VersionKey(self.model, self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the controller publishes to every edge; a new one replaces the old one as a whole."""

    routes: RouteTable = field(default_factory=RouteTable)
    versions: Mapping[VersionKey, VersionRecord] = field(
        default_factory=lambda: MappingProxyType({})
    )
    known_models: frozenset[str] = frozenset()
    """Models that exist in a repository or the registry, loaded or not."""
    ready: bool = False
    """True exactly when every wanted version is READY."""
    waited_for: tuple[VersionKey, ...] = ()
    """Wanted versions that keep it from being ready, by model and version."""
    settled: bool = False
    """True when every wanted version is READY or has failed: nothing is on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """One worker process, for operators."""

    worker: str
    pool: str
    node: str
    pid: int
    state: str
    """`starting`, `ready`, `restarting`, `silent`, `draining` or `failed`."""
    restart_count: int = 0
    last_exit: str = ""
    """How the process before this one ended: `killed by signal 9`, `exit status 1`, …"""
    rss_bytes: int = 0
    devices: str = ""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """`MODEL/VERSION` → fingerprint of all that can change its results here."""
    gpu_errors: tuple[GpuError, ...] = ()
    """What the GPUs of its node have reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeStatus:
    """One edge, for operators."""

    node: str
    haproxy_pid: int
    revision: int
    restart_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleStatus:
    """A version whose number of workers follows its calls, for operators."""

    model: str
    version: int
    min_replicas: int
    max_replicas: int
    wanted: int
    """Workers that it shall have now."""
    ready: int
    cause: str
    """Why `wanted` changed last (`serving.rollout.scaling.Cause`)."""
    changes: Mapping[str, int] = field(default_factory=dict)
    """How often it changed, by cause, since the controller started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """Everything that `bascule status` shows."""

    mode: str
    """`standalone` or `ray`."""
    home: str
    model_control: str
    revision: int
    ready: bool
    settled: bool
    live: Mapping[str, int | None]
    versions: tuple[VersionRecord, ...]
    workers: tuple[WorkerStatus, ...]
    edges: tuple[EdgeStatus, ...]
    http: str
    grpc: str
    metrics: str
    events: Mapping[str, Tally] = field(default_factory=dict)
    """How many events each receiver has, waits for, and lacks for good."""
    environment: tuple[Issue, ...] = ()
    """What is wrong with the environments of workers now."""
    environment_counts: Mapping[str, int] = field(default_factory=dict)
    """How many issues of each kind were told of since the controller started."""
    labels: tuple[LabelSummary, ...] = ()
    """What labels say of versions, as far as the controller's node can read them."""
    scales: tuple[ScaleStatus, ...] = ()
    """Versions whose number of workers follows their calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Who asks for a change, and why: both go to the audit log."""

    who: str = OPERATOR
    reason: str = ""
    is_forced: bool = False
    """A promotion takes place even if callers of the live version would break."""


ANONYMOUS: Final = Asked()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOverride:
    """What a load takes in place of the model's folder, until the next load without."""

    config: str
    """A model configuration in JSON."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Path below the model's folder → content; empty: the folder's own files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutReport:
    """A rollout, and every change that took it to where it stands."""

    rollout: Rollout
    transitions: tuple[Transition, ...]
    seen: str = ""
    """What its guardrails see now; empty if they do not look."""


class PageForm(StrEnum):
    """How a rollout's report is written."""

    MARKDOWN = "md"
    HTML = "html"
    JSON = "json"


class RolloutControl(Protocol):
    """What may be asked of rollouts; changes return when every living edge obeys them."""

    async def start_rollout(
        self, model: str, version: int, plan: Plan, asked: Asked = ANONYMOUS
    ) -> Rollout:
        """Begin to move a model's traffic to a version; returns when that is recorded.

        Raises:
            NotFoundError: There is no such model or version.
            AlreadyExistsError: A rollout of the model is under way.
            InvalidArgumentError: The plan cannot work.
        """

    async def plan_rollout(self, model: str, version: int, plan: Plan) -> Forecast:
        """Say what a rollout would do; nothing is changed.

        Raises:
            NotFoundError: There is no such model or version.
            InvalidArgumentError: The plan cannot work.
        """

    async def order_rollout(self, model: str, order: Order, asked: Asked = ANONYMOUS) -> Rollout:
        """Pause, resume, abort the model's rollout, or skip a step of it.

        Raises:
            NotFoundError: None is under way.
            InvalidArgumentError: It makes no sense in the rollout's state.
        """

    async def rollback(self, model: str, asked: Asked = ANONYMOUS) -> Rollout:
        """Give all traffic to the version that was live before; returns when that is so.

        Raises:
            NotFoundError: There is no such model, or no version before.
            NotReadyError: The version before cannot serve: nothing has changed.
        """

    async def rollouts(self, model: str | None = None) -> tuple[Rollout, ...]:
        """Return the latest rollouts, of a model or of all, newest first."""

    async def rollout(self, number: int) -> RolloutReport:
        """Return one rollout with all its changes.

        Raises:
            NotFoundError: There is none of that number.
        """

    async def rollout_page(self, number: int, form: PageForm) -> str:
        """Write one page about a rollout: who, what changed, what was compared, all evidence.

        Raises:
            NotFoundError: There is none of that number.
        """


class DriftControl(Protocol):
    """What may be asked of who watches for drift."""

    async def drift(self, model: str | None = None) -> tuple[VersionDrift, ...]:
        """Describe the versions that are watched for drift, of a model or all."""

    async def acknowledge_drift(
        self, model: str, version: int | None, alarm: str, asked: Asked
    ) -> tuple[DriftAlarm, ...]:
        """Note that somebody has seen alarms of a model; return which.

        Raises:
            NotFoundError: It has no open alarm that nobody has seen, or none of that name.
        """


class AlarmControl(Protocol):
    """What may be asked of who watches over calls and data, and over the watching."""

    async def alarms(self) -> tuple[StandingAlarm, ...]:
        """Describe what is wrong now, drift aside."""

    async def self_test(self, model: str | None) -> SelfTest:
        """Try every alarm of a model's versions, or of all, with data that are made up.

        Raises:
            NotFoundError: No version of it is served.
        """


class Control(RolloutControl, DriftControl, AlarmControl, Protocol):
    """The controller, as the front desk and the admin API see it.

    Every method returns when the change is done and acknowledged by every living edge, or raises.
    """

    async def status(self) -> ClusterStatus:
        """Everything that `bascule status` shows."""

    async def wake(self, model: str, version: int) -> None:
        """Have a worker started for a version that has none; returns at once, routes follow."""

    async def load(self, model: str, override: LoadOverride | None = None) -> None:
        """Load a model of the repository (explicit mode), or reload it when its files changed.

        Raises:
            UnsupportedError: It comes with an override, and those are off.
            NotFoundError: The repository has no such model.
            NotReadyError: Explicit loading is off in this mode.
            ModelLoadError: It failed to load; a version that served before still serves.
            InvalidArgumentError: It is the registry's, or has no version.
        """

    async def unload(self, model: str, *, dependents: bool = False) -> None:
        """Unload every version of a repository model (explicit mode); absent models succeed.

        With `dependents`, an ensemble takes the models of its steps with it.

        Raises:
            InvalidArgumentError: It is the registry's.
            NotReadyError: Explicit unloading is off in this mode.
        """

    async def promote(self, model: str, version: int, asked: Asked = ANONYMOUS) -> int:
        """Make a version the live one; return the route revision that every edge acknowledged.

        Raises:
            NotFoundError: No such model or version.
            NotReadyError: The version is not READY: the live version stays as it was.
            IncompatibleError: Calls that the live version answers would fail, and nobody forced it.
        """

    async def sync(self) -> None:
        """Read the registry again, and the repository unless its mode is none; settle."""

    async def retire(self, model: str, version: int | None, asked: Asked = ANONYMOUS) -> None:
        """Operator's unload, in every mode: one version, or all of a model.

        Raises:
            NotFoundError: Nothing of that name is wanted.
        """
