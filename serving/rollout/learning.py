"""From observations to lasting knowledge: what failed, what crashed its worker, what is slow. Pure.

A version has failed when every worker of its pool says so of this very digest, or when its own
worker does not stay up and never served it. A version that was served keeps its pool: its worker is
started again and again, and has some tries to load it, because what worked once may work again. And
so does a shared pool: a worker that does not stay up there is no version's fault, unless one was at
work when it died.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from serving.ids import VersionKey
from serving.registry.version import Isolation, VersionSpec, VersionState
from serving.rollout.desired import Desired
from serving.rollout.memory import Limits, Memory, Observed, Verdict
from serving.rollout.ports import WorkerState


def learn(memory: Memory, desired: Desired, observed: Observed, limits: Limits) -> Memory:
    """Take note of failures, crashes and slowness; forget what no longer applies."""
    memory = _forgotten(memory, desired)
    failures = dict(_failures(memory, desired, observed))
    memory = replace(memory, failures={**memory.failures, **failures})
    memory = _with_crashes(memory, desired, observed)
    slow = _slowest(memory, desired, observed, limits)
    return replace(memory, moves={**memory.moves, **slow})


def without_failures(memory: Memory, desired: Desired, model: str | None) -> Memory:
    """Forget that a model failed, and all ensembles: any of them may have failed for it."""
    if model is None:
        return memory
    failures = {
        key: verdict
        for key, verdict in memory.failures.items()
        if key.model != model and not ((spec := desired.versions.get(key)) and spec.policy.ensemble)
    }
    return replace(memory, failures=failures)


def _forgotten(memory: Memory, desired: Desired) -> Memory:
    wanted = desired.versions

    def current(verdicts: Mapping[VersionKey, Verdict]) -> dict[VersionKey, Verdict]:
        return {
            key: verdict
            for key, verdict in verdicts.items()
            if key in wanted and wanted[key].digest == verdict.digest
        }

    once = dict.fromkeys((*memory.placement, *memory.routes.versions), "unloaded")
    once |= memory.unloaded
    once |= {key: verdict.reason for key, verdict in memory.failures.items()}
    once |= desired.failed
    return replace(
        memory,
        failures=current(memory.failures),
        moves=current(memory.moves),
        spread={key: one for key, one in memory.spread.items() if key in wanted},
        unloaded={
            key: reason
            for key, reason in once.items()
            if key.version and key not in wanted and key.model in desired.known_models
        },
    )


def _failures(
    memory: Memory, desired: Desired, observed: Observed
) -> Iterator[tuple[VersionKey, Verdict]]:
    for key, pool in memory.placement.items():
        spec = desired.versions.get(key)
        asked = memory.pools[pool].versions.get(key) if pool in memory.pools else None
        if spec is None or asked is None or asked.digest != spec.digest:
            continue  # not asked for yet: what is observed is of an older digest
        is_served = memory.routed_pool(key) == pool
        is_alone = memory.pools[pool].shape.dedicated
        reason = _failure_reason(
            key, spec, observed.get(pool, ()), is_alone=is_alone, is_served=is_served
        )
        if reason:
            yield key, Verdict(spec.digest, reason)


def _failure_reason(
    key: VersionKey,
    spec: VersionSpec,
    workers: Sequence[WorkerState],
    *,
    is_alone: bool,
    is_served: bool,
) -> str:
    """Say why a version failed in its pool; empty while it works or may still come."""
    reasons: list[str] = []
    for worker in workers:
        said = worker.versions.get(key)
        if said is not None and said.state is VersionState.READY:
            return said.reason if said.refused_digest == spec.digest else ""
        if worker.state == "failed" and is_alone and not is_served:
            reasons.append(f"its worker does not stay up: {worker.last_exit}")
        elif said is None or said.state is not VersionState.UNAVAILABLE:
            return ""
        elif said.digest != spec.digest:
            return ""  # heard before the worker was told of this form
        elif said.is_retried and is_served:
            return ""
        else:
            reasons.append(said.reason or "its worker could not load it")
    return reasons[0] if reasons else ""


def _with_crashes(memory: Memory, desired: Desired, observed: Observed) -> Memory:
    counts = dict(memory.crash_counts)
    moves = dict(memory.moves)
    for pool, workers in observed.items():
        for worker in workers:
            name, key = worker.address.worker, worker.crashed_on
            if key is None or counts.get(name) == worker.restart_count:
                continue
            counts[name] = worker.restart_count
            known = memory.pools.get(pool)
            spec = desired.versions.get(key)
            if spec is not None and known is not None and not known.shape.dedicated:
                reason = f"it was at work when the shared worker {name} ended: {worker.last_exit}"
                moves[key] = Verdict(spec.digest, reason)
    return replace(memory, crash_counts=counts, moves=moves)


def _slowest(
    memory: Memory, desired: Desired, observed: Observed, limits: Limits
) -> dict[VersionKey, Verdict]:
    """Find the next slow version to move out: one at a time, for each costs a process."""
    is_moving = any(
        key in memory.placement and memory.placement[key] != memory.routed_pool(key)
        for key in memory.moves
    )
    if is_moving or not may_add_pool(memory, limits):
        return {}
    slow = [
        (run_s, key)
        for run_s, key in _shared_run_times(memory, observed)
        if run_s > limits.slow_run_s and may_move(memory, desired, key)
    ]
    if not slow:
        return {}
    run_s, key = max(slow)
    limit_ms = limits.slow_run_s * 1e3
    reason = f"one row takes {run_s * 1e3:.3g} ms, over {limit_ms:.3g} ms (BASCULE_SLOW_RUN_S)"
    return {key: Verdict(desired.versions[key].digest, reason)}


def _shared_run_times(memory: Memory, observed: Observed) -> Iterator[tuple[float, VersionKey]]:
    shared = [pool for pool, known in memory.pools.items() if not known.shape.dedicated]
    for worker in (worker for pool in shared for worker in observed.get(pool, ())):
        for key, said in worker.versions.items():
            if said.served is not None and said.state is VersionState.READY:
                yield said.served.run_s, key


def may_add_pool(memory: Memory, limits: Limits) -> bool:
    """Whether there may be a pool more only because that is faster: half of the slots stay free."""
    return 2 * len(memory.pools) < limits.pool_slots


def may_move(memory: Memory, desired: Desired, key: VersionKey) -> bool:
    """Whether a version that shares a worker may be given another one."""
    spec = desired.versions.get(key)
    return (
        spec is not None
        and spec.policy.isolation is Isolation.AUTO
        and key not in memory.moves
        and key not in memory.failures
    )
