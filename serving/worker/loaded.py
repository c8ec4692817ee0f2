"""A version that this worker can run: its specs, codecs, queue and counters, built at load."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

from runtimes.contract import LoadedModel, Looping
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.registry.version import ServedVersion, VersionSpec
from serving.wire.call import CallSpec
from serving.wire.regions import Regions
from serving.wire.v2_json import V2JsonCodec
from serving.wire.v2_proto import V2ProtoCodec
from serving.worker.admission import NS_PER_S, QueueLimits
from serving.worker.batch_gate import BatchGate, batch_gate_for
from serving.worker.batch_plan import BatchLimits
from serving.worker.batcher import Batcher
from serving.worker.cached_intake import CachedIntake
from serving.worker.executor import Executor, Look, VersionRunner
from serving.worker.handover import Handover
from serving.worker.intake import Intake
from serving.worker.loading import LoadedParts
from serving.worker.padded_stacking import PaddedStacker
from serving.worker.prediction_names import PredictionNames
from serving.worker.quality_gate import QualityGate, gate_for, look_of
from serving.worker.queue_levels import LevelQueue
from serving.worker.queued import QueueBytes
from serving.worker.recorder import Note
from serving.worker.response_cache import ResponseCache
from serving.worker.run_costs import RunCosts
from serving.worker.sequence_batcher import SequenceBatcher, SequenceParts
from serving.worker.sequence_stacking import SequenceStacker
from serving.worker.stacking import Stacker
from serving.worker.tap import Observer, Tap, TappedVersion
from serving.worker.tracing import Tracing


def nameless(_: VersionSpec) -> PredictionNames | None:
    """Give a version's predictions no ids: they are not logged."""
    return None


def public(_: VersionSpec) -> bool:
    """Withhold nothing of an ensemble's steps: nothing is logged."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """What all versions of the process share."""

    loop: asyncio.AbstractEventLoop
    executor: Executor
    queue_bytes: QueueBytes
    max_queue_bytes: int
    now_ns: Callable[[], int]
    """Nanoseconds, monotonic."""
    cache: ResponseCache
    """For the versions whose policy asks for it."""
    handover: Handover
    """Has steps of sequences answered that other versions' workers know."""
    has_predecessor: bool = False
    """Whether sequences may be asked for that another worker, or another form of a version, had."""
    tracing: Tracing = field(default_factory=Tracing)
    utc_s: Callable[[], float]
    """Seconds since 1970."""
    taps: tuple[Tap, ...] = ()
    """Make the observers of a version's answered calls."""
    name_predictions: Callable[[VersionSpec], PredictionNames | None] = nameless
    """What gives a version's answered calls their ids; None: they have none."""
    is_private: Callable[[VersionSpec], bool] = public
    """Whether the models of an ensemble's steps may not log its calls."""

    def observers(self, version: TappedVersion) -> tuple[Observer, ...]:
        """Return those who look at a version's answered calls."""
        made = [tap(version) for tap in self.taps]
        return tuple(observer for observer in made if observer is not None)

    def with_predecessor(self) -> Self:
        """Return what a version gets that replaces another form of it."""
        return replace(self, has_predecessor=True)

    regions: Regions
    """Memory that clients share with this process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedVersion:
    """One version, ready to take calls. Belongs to the loop's thread."""

    spec: VersionSpec
    served: ServedVersion
    model: LoadedModel | None
    """None: an ensemble, which has steps in place of a model."""
    json_codec: V2JsonCodec
    proto_codec: V2ProtoCodec
    batcher: Intake
    """The batcher, or what stands before it."""
    statistics: StatisticsRecorder
    default_timeout_ns: int
    """Longest time in the queue that the policy allows; 0: no limit."""
    prediction_names: PredictionNames | None = None
    """Gives each answered call an id; None: predictions are not logged."""
    has_levels: bool = False
    """The queue has priority levels, which judge time limits by themselves."""
    quality: QualityGate | None = None
    """Enforces its data contract; None: it has none, which costs a call one test."""
    judges_batches: bool = False
    """Whether its calls are judged with their batch rather than before they wait."""


def open_version(shop: Shop, spec: VersionSpec, parts: LoadedParts, note: Note) -> LoadedVersion:
    """Put the parts around a model that was loaded and warmed up."""
    served, model = parts.served, parts.model
    call_spec = CallSpec(
        model=spec.model,
        version=spec.version,
        inputs=served.inputs,
        outputs=served.outputs,
        max_batch_rows=served.max_batch_rows,
        labels=parts.labels,
        padding=parts.padding,
    )
    quality = gate_for(spec, served, shop.utc_s)
    statistics = StatisticsRecorder(spec.key, began_ns=shop.now_ns())
    observers = shop.observers(TappedVersion(spec=spec, served=served, statistics=statistics))
    queue, screen = spec.policy.queue, _screen(shop, spec, quality)
    look = look_of(quality) if screen is None else None
    running = _Running(model, note, statistics, observers, look, screen)
    return LoadedVersion(
        spec=spec,
        served=served,
        model=model,
        batcher=_queue(shop, spec, parts, running),
        json_codec=V2JsonCodec(call_spec, regions=shop.regions),
        proto_codec=V2ProtoCodec(call_spec, regions=shop.regions),
        statistics=statistics,
        default_timeout_ns=int(queue.default_timeout_s * NS_PER_S),
        prediction_names=shop.name_predictions(spec),
        has_levels=queue.priorities is not None,
        quality=quality,
        judges_batches=screen is not None,
    )


def _screen(shop: Shop, spec: VersionSpec, quality: QualityGate | None) -> BatchGate | None:
    """Judge with their batch the calls before which nothing stands.

    A state must not advance by a call that is refused, and a kept answer is for one that was not.
    Where places in the queue or the time in it are scarce, who is refused shall not take them. And
    what a batch is padded with is nobody's data.
    """
    queue = spec.policy.queue
    stands_before = spec.policy.sequences or _has_cache(shop, spec) or queue.priorities
    is_padded = spec.policy.padding is not None
    is_scarce = (
        queue.max_queue_calls
        or queue.default_timeout_s
        or queue.max_queue_delay_s
        or queue.preferred_batch_rows
    )
    return None if stands_before or is_padded or is_scarce else batch_gate_for(quality)


def _has_cache(shop: Shop, spec: VersionSpec) -> bool:
    return bool(spec.policy.response_cache and shop.cache.max_bytes)


class _Running(NamedTuple):
    """What runs a version, and who counts, notes and looks."""

    model: LoadedModel
    note: Note
    statistics: StatisticsRecorder
    observers: tuple[Observer, ...]
    look: Look | None
    """Judges answers where they are made."""
    screen: BatchGate | None
    """Judges calls and answers with their batch."""

    def runner(
        self, stacker: Stacker, now_ns: Callable[[], int], *, has_states: bool
    ) -> VersionRunner:
        """Return what runs batches; states among the outputs are none of an answer's."""
        look = None if has_states else self.look
        return VersionRunner(self.model, stacker, self.note, now_ns, look, self.screen)


def _stacker(parts: LoadedParts) -> Stacker:
    served, padding = parts.served, parts.padding
    rows = served.max_batch_rows
    if padding is None:
        return Stacker(served.inputs, served.outputs, max_batch_rows=rows)
    return PaddedStacker(served.inputs, served.outputs, max_batch_rows=rows, padding=padding)


def _costs(parts: LoadedParts) -> RunCosts:
    model = parts.model
    has_loops = isinstance(model, Looping) and model.has_loops
    return RunCosts(mixes_lengths=parts.padding is not None, has_loops=has_loops)


def _queue(shop: Shop, spec: VersionSpec, parts: LoadedParts, running: _Running) -> Intake:
    """Build the queue: a batcher, and what stands before it: a cache, or lines of sequences."""
    served = parts.served
    rows = served.max_batch_rows
    sequences = spec.policy.sequences
    steps = None
    if sequences is not None:
        steps = SequenceStacker(
            sequences,
            running.model,
            served.inputs,
            initial=parts.initial_states,
            max_batch_rows=rows,
        )
    stacker = steps or _stacker(parts)
    queue = spec.policy.queue
    limits = QueueLimits(
        max_rows=queue.max_queue_rows,
        max_bytes=shop.max_queue_bytes,
        max_calls=queue.max_queue_calls,
    )
    batcher = Batcher(
        running.runner(stacker, shop.now_ns, has_states=steps is not None),
        batch_limits=BatchLimits(
            max_rows=rows,
            preferred_rows=queue.preferred_batch_rows,
            max_delay_ns=int(queue.max_queue_delay_s * NS_PER_S),
        ),
        queue_limits=limits,
        queue_bytes=shop.queue_bytes,
        executor=shop.executor,
        statistics=running.statistics,
        costs=_costs(parts),
        loop=shop.loop,
        now_ns=shop.now_ns,
        levels=None if queue.priorities is None else LevelQueue(queue.priorities),
        trace=shop.tracing.slot(spec.key),
        observers=running.observers,
    )
    if steps is None or sequences is None:
        if not _has_cache(shop, spec):
            return batcher
        return CachedIntake(batcher, shop.cache, running.statistics, shop.now_ns, running.observers)
    return SequenceBatcher(
        SequenceParts(
            model=spec.model,
            version=spec.version,
            policy=sequences,
            stacker=steps,
            batcher=batcher,
            limits=limits,
            queue_bytes=shop.queue_bytes,
            statistics=running.statistics,
            loop=shop.loop,
            now_ns=shop.now_ns,
            handover=shop.handover,
            has_predecessor=shop.has_predecessor,
        )
    )
