"""What the front desk answers, whichever transport asks: both sides of it are thin over this.

It knows the last snapshot, so it answers without the controller; only changes go there. Workers are
asked for their counters, each over its own socket and all at once.
"""

import asyncio
from collections.abc import Collection, Mapping
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

import msgspec
import structlog

from runtimes.errors import InvalidArgumentError, ModelLoadError, UnsupportedError
from serving.edge import lookup
from serving.edge.control import Control, Snapshot
from serving.edge.drain import Drain
from serving.edge.load_parameters import load_override, refuse_unknown
from serving.edge.protocol_settings import LogValue, ProtocolSettings, TraceValue
from serving.edge.regions import RegionBook
from serving.edge.routes import WorkerAddress
from serving.edge.shared_ask import SharedAsk
from serving.edge.sleepers import Sleepers
from serving.edge.worker_settings import WorkerSettings
from serving.errors import DrainingError, NotFoundError, NotReadyError
from serving.ids import MODEL_NAME, RESERVED_MODEL_NAMES, VersionKey
from serving.local_http import LocalHttp
from serving.monitor.statistics import (
    FailureReason,
    VersionStatistics,
    merge_by_gpu,
    merge_statistics,
)
from serving.monitor.totals import Totals
from serving.predictions.labels.store import LabelStore
from serving.wire import refusals

log = structlog.get_logger(__name__)

PROTOCOL_VERSION: Final = "0.1.0"
EXTENSIONS: Final = (
    "classification",
    "sequence",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "logging",
)
SYSTEM_SHARED_MEMORY: Final = "system_shared_memory"
CUDA_SHARED_MEMORY: Final = "cuda_shared_memory"
TRACE: Final = "trace"
ASK_WORKER_S: Final = 2.0

WorkerAsk = SharedAsk[list[VersionStatistics] | None]


class Desk:
    """One node's answers."""

    def __init__(
        self,
        control: Control,
        regions: RegionBook,
        *,
        server_id: str,
        node: str,
        settings: ProtocolSettings | None = None,
        is_strict: bool = True,
    ) -> None:
        """Know nothing yet: `take` brings what the controller has published.

        Args:
            control: What operators may ask for.
            regions: Memory that clients share.
            server_id: The name in server metadata.
            node: Where this is.
            settings: What may be traced and logged.
            is_strict: Be ready only while every wanted version is; else from the moment on when
                each of those of the start had been loaded, or had failed.
        """
        self.control = control
        self.regions = regions
        self.server_id = server_id
        self.snapshot = Snapshot()
        self.drain = Drain()
        self.labels: LabelStore | None = None
        """Where labels are kept; None: no prediction is logged, so there is nothing to label."""
        self.protocol_settings = settings or ProtocolSettings()
        self.totals = Totals()
        self._counting = asyncio.Lock()
        self.worker_settings = WorkerSettings(self.protocol_settings, self._local_workers)
        self.sleepers = Sleepers(control, lambda: self.snapshot, self.drain)
        self._node = node
        self._asked: WeakValueDictionary[WorkerAddress, WorkerAsk] = WeakValueDictionary()
        """Of the workers that are being asked: who asks meanwhile shares the next answer."""
        self._is_strict = is_strict
        self._was_settled = False

    def take(self, snapshot: Snapshot) -> None:
        """Answer from a newer snapshot."""
        self.snapshot = snapshot
        self._was_settled = self._was_settled or snapshot.settled

    @property
    def is_ready(self) -> bool:
        """Whether it may be called, as long as it is not on its way out."""
        return self.snapshot.ready or (self._was_settled and not self._is_strict)

    @property
    def ready(self) -> bool:
        """Whether it may be called.

        Raises:
            DrainingError: The server is on its way out.
        """
        self.check_live()
        return self.is_ready

    @property
    def extensions(self) -> tuple[str, ...]:
        """The protocol's extensions that are served."""
        memory = (SYSTEM_SHARED_MEMORY,) if self.regions.is_on else ()
        cuda = (CUDA_SHARED_MEMORY,) if self.regions.is_cuda_on else ()
        trace = (TRACE,) if self.protocol_settings.can_trace else ()
        return (*EXTENSIONS, *memory, *cuda, *trace)

    def check_live(self) -> None:
        """Raise if the server is on its way out.

        Raises:
            DrainingError: It is.
        """
        if self.drain.has_begun:
            raise DrainingError(refusals.SERVER_EXITING)

    def model_ready(self, model: str, version: int | None) -> bool:
        """Whether the version would answer; unknown models would not."""
        try:
            lookup.ready_version(self.snapshot, model, version)
        except (NotFoundError, NotReadyError):
            return False
        return not self.drain.has_begun

    async def statistics(self, model: str, version: int | None) -> tuple[VersionStatistics, ...]:
        """Sum the counters of the READY versions over their workers.

        Args:
            model: Empty for all models.
            version: None for all of the model.

        Raises:
            InvalidArgumentError: The model or version is not available.
        """
        keys = lookup.measured_versions(self.snapshot, model, version)
        counted = await self._counted(keys)
        said = (item for each in counted.values() for item in each)
        return merge_statistics([*(_zero(key) for key in keys), *lookup.counted_of(said, keys)])

    async def statistics_by_gpu(self) -> tuple[VersionStatistics, ...]:
        """Sum the counters of all READY versions over their workers on one GPU, or on the CPU.

        Over those that have ended, too: see `serving.monitor.totals`.
        """
        keys = lookup.measured_versions(self.snapshot, "", None)
        async with self._counting:  # of two scrapes at once, an older answer would come later
            counted = await self._counted(keys)
            sums = self.totals.take(counted, self.snapshot.versions.keys())
        asked = lookup.counted_of(sums, keys)
        known = {item.key for item in asked}
        return merge_by_gpu([*(_zero(key) for key in keys if key not in known), *asked])

    async def _counted(self, keys: Collection[VersionKey]) -> dict[str, list[VersionStatistics]]:
        """Ask this node's workers of some versions for all that they have counted.

        Returns:
            What each said; who said nothing is left out.
        """
        routes = self.snapshot.routes
        pools = {
            route.pool
            for key in keys
            if (route := routes.versions.get(key)) is not None and route.pool is not None
        }
        workers = {worker for pool in pools for worker in routes.pools.get(pool, ())}
        async with asyncio.TaskGroup() as group:
            asked = {
                worker.worker: group.create_task(self._said_by(worker))
                for worker in sorted(workers)
                if worker.node == self._node
            }
        said = {worker: task.result() for worker, task in asked.items()}
        return {worker: counted for worker, counted in said.items() if counted is not None}

    async def _said_by(self, worker: WorkerAddress) -> list[VersionStatistics] | None:
        ask = self._asked.get(worker)
        if ask is None:
            ask = self._asked[worker] = SharedAsk(partial(_worker_statistics, worker))
        return await ask()

    async def change_trace(
        self, model: str, changes: Mapping[str, TraceValue | None]
    ) -> Mapping[str, TraceValue]:
        """Change trace settings (none: only read them), and let workers obey them.

        Raises:
            InvalidArgumentError: A value is none, or there is no such model.
            UnsupportedError: The place of the trace file was to change.
        """
        if model and not any(key.model == model for key in self.snapshot.versions):
            raise InvalidArgumentError(refusals.unknown_model(model))
        if not changes:
            return self.protocol_settings.trace(model)
        changed = self.protocol_settings.change_trace(model, changes)
        await self.worker_settings.tell()
        return changed

    async def change_logging(self, changes: Mapping[str, object]) -> Mapping[str, LogValue]:
        """Change logging settings (none: only read them), here and in the workers.

        Raises:
            InvalidArgumentError: A value is none.
            UnsupportedError: The place of the log file was to change.
        """
        changed = self.protocol_settings.change_logging(changes)
        if changes:
            await self.worker_settings.tell()
        return changed

    def _local_workers(self) -> list[WorkerAddress]:
        pools = self.snapshot.routes.pools.values()
        found = {worker for workers in pools for worker in workers if worker.node == self._node}
        return sorted(found)

    async def load(self, model: str, parameters: Mapping[str, object]) -> None:
        """Load or reload a repository model.

        Raises:
            BasculeError: With Triton's words, `failed to load 'x'` among them.
        """
        _check_name(model)
        refuse_unknown(parameters)
        try:
            await self.control.load(model, load_override(parameters))
        except ModelLoadError as error:
            # On this interface a failed load is the caller's mistake, as in Triton.
            raise InvalidArgumentError(_failed_load(model, error.message)) from error
        except (NotFoundError, InvalidArgumentError, UnsupportedError) as error:
            raise type(error)(_failed_load(model, error.message)) from error

    async def unload(self, model: str, dependents: object = False) -> None:  # noqa: FBT002  as sent
        """Unload a repository model.

        Args:
            model: Its name.
            dependents: The protocol's `unload_dependents`, as the client sent it.

        Raises:
            BasculeError: Unloading is off, the name is none, or the parameter is no boolean.
        """
        _check_name(model)
        if not isinstance(dependents, bool):
            raise InvalidArgumentError("Invalid value for 'unload_dependents': expected a boolean")
        await self.control.unload(model, dependents=dependents)


async def _worker_statistics(worker: WorkerAddress) -> list[VersionStatistics] | None:
    async with LocalHttp(worker.socket) as client:
        try:
            reply = await client.ask("GET", "/worker/statistics", timeout_s=ASK_WORKER_S)
            return msgspec.json.decode(reply.body, type=list[VersionStatistics])
        except (NotReadyError, msgspec.MsgspecError) as error:
            log.info("worker_without_statistics", worker=worker.worker, error=str(error))
            return None


def _zero(key: VersionKey) -> VersionStatistics:
    return VersionStatistics(
        model=key.model, version=key.version, failures=dict.fromkeys(FailureReason, 0)
    )


def _check_name(model: str) -> None:
    if not model:
        raise InvalidArgumentError(
            "Model name cannot be empty. Please enter a valid name to deploy."
        )
    if model in RESERVED_MODEL_NAMES or not MODEL_NAME.fullmatch(model):
        raise InvalidArgumentError(
            f"invalid model name '{model}', model name must not contain path traversal characters "
            f"(failed to load '{model}')"
        )


def _failed_load(model: str, message: str) -> str:
    prefix = f"failed to load '{model}'"
    return message if prefix in message else f"{prefix}, {message}"
