"""The versions that this worker hosts: loads, swaps and unloads them while others serve.

Declarative: `want` says what shall be hosted, `run` works towards it one version at a time::

    absent ──► LOADING ──► READY ──► UNLOADING ──► absent
                  │          │ new digest: LOADING beside the old one, which serves until the
                  ▼          ▼ new one replaces it at once; it goes on serving if that fails
              UNAVAILABLE (the reason says why; tried again at the next `want`)

Unloading ends the intake first, waits for what was accepted, and then gives the memory back.
Ensembles are loaded after the versions that they use and unloaded before them; whenever one of
these is replaced, so is the ensemble, at once; one that it is about to use no more stays until it
does not. One file, because all of this is one state.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace

import structlog

from runtimes.errors import BasculeError
from runtimes.facts import NodeFacts
from serving.ids import VersionKey
from serving.registry.version import VersionSpec, VersionState
from serving.worker.control import UNLOADED, HostedLine
from serving.worker.ensembles import first_to_load, first_to_unload, open_ensemble, users_of
from serving.worker.executor import Executor
from serving.worker.handover import Begun
from serving.worker.loaded import LoadedVersion, Shop, open_version
from serving.worker.loading import load_parts
from serving.worker.own_environment import OwnEnvironment
from serving.worker.recorder import FlightRecorder
from serving.worker.sequence_batcher import SequenceBatcher
from serving.worker.sequence_stacking import SequenceId
from serving.worker.targets import Targets
from serving.worker.tracing import Tracing

log = structlog.get_logger(__name__)


class Hosting:
    """What is wanted, what there is, and the way between. Belongs to one event loop."""

    def __init__(
        self, shop: Shop, targets: Targets, recorder: FlightRecorder, own: OwnEnvironment
    ) -> None:
        """Host nothing."""
        self._own = own
        self._shop = shop
        self._targets = targets
        self._recorder = recorder
        self._loader = Executor(shop.loop, 1)
        self._wanted: dict[VersionKey, VersionSpec] = {}
        self._lines: dict[VersionKey, HostedLine] = {}
        self._loaded: dict[VersionKey, LoadedVersion] = {}
        self._failed_digests: dict[VersionKey, str] = {}
        self._change = asyncio.Event()
        self._listeners: list[asyncio.Queue[HostedLine | None]] = []
        self.was_applied = False
        """Whether a `want` has been fulfilled, as far as it could."""

    @property
    def lines(self) -> tuple[HostedLine, ...]:
        """The state of every version, hosted or wanted."""
        return tuple(self._lines.values())

    def counted_lines(self) -> tuple[HostedLine, ...]:
        """The same, with the sequences that are under way."""
        counts = {
            key: loaded.batcher.sequence_count
            for key, loaded in self._loaded.items()
            if isinstance(loaded.batcher, SequenceBatcher)
        }
        return tuple(
            replace(line, sequence_count=counts[key]) if counts.get(key) else line
            for key, line in self._lines.items()
        )

    def routed_sequences(self) -> Iterator[tuple[str, SequenceId]]:
        """Give what is under way and began without the name of a version, with its model."""
        for key, loaded in self._loaded.items():
            if isinstance(loaded.batcher, SequenceBatcher):
                for sequence in loaded.batcher.routed_sequences:
                    yield key.model, sequence

    def end_begun(self, begun: Begun) -> None:
        """End sequences that began anew at another worker."""
        self._shop.handover.forget_lost(begun)
        for key, loaded in self._loaded.items():
            if key.model == begun.model and isinstance(loaded.batcher, SequenceBatcher):
                loaded.batcher.supersede(begun.ids, begun.worker)

    @property
    def facts(self) -> NodeFacts | None:
        """What this process computes with; None before it has loaded a version."""
        return self._own.known

    @property
    def tracing(self) -> Tracing:
        """Which calls are traced."""
        return self._shop.tracing

    @property
    def loaded(self) -> Sequence[LoadedVersion]:
        """The versions that take calls."""
        return tuple(self._loaded.values())

    def want(self, specs: Sequence[VersionSpec]) -> AsyncIterator[HostedLine]:
        """Say what shall be hosted from now on; what failed before is tried again.

        Returns:
            The states of versions as they change, until nothing is left to do.
        """
        self._wanted = {spec.key: spec for spec in specs}
        self._failed_digests.clear()
        self._change.set()
        queue: asyncio.Queue[HostedLine | None] = asyncio.Queue()
        self._listeners.append(queue)
        return _lines(queue)

    async def run(self) -> None:
        """Work towards what is wanted, for ever."""
        while True:
            await self._change.wait()
            self._change.clear()
            while await self._step():
                pass
            if not self._change.is_set():
                self.was_applied = True
                for queue in self._listeners:
                    queue.put_nowait(None)
                self._listeners.clear()

    async def idle(self) -> None:
        """Return when no version has a call that waits or runs."""
        for loaded in self.loaded:
            await loaded.batcher.idle()

    def close(self, timeout_s: float) -> bool:
        """End the loader's thread; say whether it has ended in time."""
        return self._loader.close(timeout_s)

    async def _step(self) -> bool:
        """Do the next thing; False: there is none. What goes, goes first, for its memory."""
        gone = [key for key in self._lines if key not in self._wanted and not self._is_in_use(key)]
        if gone:
            await self._unload(first_to_unload(gone, self._loaded))
            return True
        ensembles: dict[VersionKey, VersionSpec] = {}
        for key, spec in self._wanted.items():
            if not self._is_pending(key, spec):
                continue
            if not spec.policy.ensemble:
                await self._load(spec, self._loaded.get(key))
                return True
            ensembles[key] = spec
        if ensembles:
            key = first_to_load(ensembles, self._loaded)
            await self._load_ensemble(ensembles[key], self._loaded.get(key))
        return bool(ensembles)

    def _is_in_use(self, key: VersionKey) -> bool:
        """Whether a loaded ensemble runs a version until the form that is to come takes over."""
        return any(
            self._is_in_use(user)
            or (user in self._wanted and self._is_pending(user, self._wanted[user]))
            for user in users_of(key, self._loaded)
        )

    def _is_pending(self, key: VersionKey, spec: VersionSpec) -> bool:
        here = self._loaded.get(key)
        is_here = here is not None and here.spec.digest == spec.digest
        return not is_here and self._failed_digests.get(key) != spec.digest

    async def _load_ensemble(self, spec: VersionSpec, old: LoadedVersion | None) -> None:
        """Put an ensemble together; its steps' models were loaded before it."""
        try:
            loaded = open_ensemble(self._shop, spec, self._loaded, old)
        except BasculeError as error:
            self._refuse(spec, old, self._with_reasons(spec, error.message))
            return
        await self._enter(loaded, old)

    async def _enter(self, loaded: LoadedVersion, old: LoadedVersion | None) -> None:
        """Let a version answer, and the ensembles that use it; end the forms before."""
        key = loaded.spec.key
        self._loaded[key] = loaded
        self._targets.put(loaded)
        self._tell(loaded.spec, VersionState.READY, loaded=loaded)
        for stale in self._relink(key):
            await self._close(stale)
        if old is not None:
            await self._close(old)

    def _relink(self, key: VersionKey) -> list[LoadedVersion]:
        """Put together anew what uses a version that came or went; returns the forms before.

        A form before keeps the version that it began with, until its last call is answered.
        """
        stale: list[LoadedVersion] = []
        changed = [key]
        while changed:
            for user in users_of(changed.pop(), self._loaded):
                before = self._loaded[user]
                stale.append(before)
                changed.append(user)
                try:
                    again = open_ensemble(self._shop, before.spec, self._loaded, before)
                except BasculeError as error:
                    self._lose(before, error.message)
                    continue
                self._loaded[user] = again
                self._targets.put(again)
                self._tell(again.spec, VersionState.READY, loaded=again)
        return stale

    def _lose(self, ensemble: LoadedVersion, reason: str) -> None:
        """Stop answering for an ensemble whose steps do not fit any more."""
        key = ensemble.spec.key
        del self._loaded[key]
        self._targets.set_unready(key)
        self._targets.drop(key)
        self._refuse(ensemble.spec, None, self._with_reasons(ensemble.spec, reason))

    def _with_reasons(self, spec: VersionSpec, reason: str) -> str:
        """Say of a step's model that is not here why that is so."""
        lines = (self._lines.get(VersionKey(s.model, s.version)) for s in spec.policy.ensemble)
        told = (line for line in lines if line and line.state is VersionState.UNAVAILABLE)
        line = next(told, None)
        return reason if line is None else f"{reason} ({line.model}: {line.reason})"

    async def _load(self, spec: VersionSpec, old: LoadedVersion | None) -> None:
        key = spec.key
        if old is None:
            self._targets.set_unready(key)
            self._tell(spec, VersionState.LOADING)
        note = self._recorder.note(key)
        try:
            parts = await self._loader.call(lambda: load_parts(spec, note, self._own))
            shop = self._shop if old is None else self._shop.with_predecessor()
            loaded = open_version(shop, spec, parts, note)
        except BasculeError as error:
            self._refuse(spec, old, error.message)
            return
        except Exception as error:  # process edge: a model that cannot load must not end others
            log.exception("load_failed", model=spec.model, version=spec.version)
            self._refuse(spec, old, f"internal error while loading: {type(error).__name__}")
            return
        await self._enter(loaded, old)

    def _refuse(self, spec: VersionSpec, old: LoadedVersion | None, reason: str) -> None:
        self._failed_digests[spec.key] = spec.digest
        log.warning("version_refused", model=spec.model, version=spec.version, reason=reason)
        if old is None:
            self._tell(spec, VersionState.UNAVAILABLE, reason=reason)
        else:
            self._tell(
                old.spec,
                VersionState.READY,
                reason=reason,
                refused_digest=spec.digest,
                loaded=old,
            )

    async def _unload(self, key: VersionKey) -> None:
        line = self._lines[key]
        loaded = self._loaded.pop(key, None)
        if loaded is not None:
            self._targets.set_unready(key)
            self._targets.drop(key)
            self._tell(loaded.spec, VersionState.UNLOADING)
            for stale in self._relink(key):
                await self._close(stale)
            await self._close(loaded)
        self._targets.clear_unready(key)
        gone = HostedLine(
            model=key.model,
            version=key.version,
            state=VersionState.UNAVAILABLE,
            reason=UNLOADED,
            digest=line.digest,
        )
        del self._lines[key]
        self._publish(gone)

    async def _close(self, loaded: LoadedVersion) -> None:
        """Let a version finish what it accepted, and give its memory back."""
        await loaded.batcher.idle()
        loaded.batcher.close()
        if loaded.model is None:
            return
        try:
            await self._loader.call(loaded.model.close)
        except Exception:  # process edge: an engine that cannot let go must not end others
            log.exception("close_failed", model=loaded.spec.model, version=loaded.spec.version)

    def _tell(
        self,
        spec: VersionSpec,
        state: VersionState,
        *,
        reason: str = "",
        refused_digest: str = "",
        loaded: LoadedVersion | None = None,
    ) -> None:
        line = HostedLine(
            model=spec.model,
            version=spec.version,
            state=state,
            reason=reason,
            digest=spec.digest,
            refused_digest=refused_digest,
            served=None if loaded is None else loaded.served,
        )
        self._lines[spec.key] = line
        self._publish(line)

    def _publish(self, line: HostedLine) -> None:
        for queue in self._listeners:
            queue.put_nowait(line)


async def _lines(queue: asyncio.Queue[HostedLine | None]) -> AsyncIterator[HostedLine]:
    while (line := await queue.get()) is not None:
        yield line
