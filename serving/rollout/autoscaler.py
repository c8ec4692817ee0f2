"""Keeps what was decided of every scaled version, and decides anew as its workers report.

What it decides is carried out by the control loop's next pass: a pool's number of workers changes
through the `Cluster` port, on Ray Serve as `num_replicas`. Nothing of it is on a call's way.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import structlog

from serving.edge.control import ScaleStatus
from serving.ids import VersionKey
from serving.monitor.load import Load, VersionLoad, lately, load_of, together
from serving.monitor.traffic import life_name
from serving.registry.policies.scaling_policy import ScalingPolicy
from serving.registry.version import VersionSpec
from serving.rollout.desired import Desired
from serving.rollout.memory import Memory, Observed, Pool
from serving.rollout.ports import WorkerState
from serving.rollout.scaling import Cause, Decision, decide, first_decision, woken

log = structlog.get_logger(__name__)

LOOK_S: Final = 0.25
"""Between two decisions."""
SPAN_S: Final = 1.0
"""Load is what came in so long: a burst is seen, a moment is not."""


class Autoscaler:
    """The decisions, by version. Belongs to the control loop."""

    def __init__(self, worker_limit: int = 0) -> None:
        """Know no version.

        Args:
            worker_limit: More workers than this are of no use to one version on CPUs; 0: any
                number may be.
        """
        self._worker_limit = worker_limit
        self._decisions: dict[VersionKey, Decision] = {}
        self._digests: dict[VersionKey, str] = {}
        self._said: dict[tuple[str, VersionKey], tuple[VersionLoad, ...]] = {}
        self._changes: dict[VersionKey, dict[Cause, int]] = {}

    def counts(self, memory: Memory, desired: Desired, now_s: float) -> dict[VersionKey, int]:
        """Return how many workers each scaled version shall have; new ones begin with one.

        A version in a new form begins anew: whether it loads is told at once, not to a caller.
        """
        found: dict[VersionKey, int] = {}
        for key, spec in desired.versions.items():
            if (policy := spec.policy.scaling) is None:
                continue
            decision = self._decisions.get(key)
            if decision is None or self._digests.get(key) != spec.digest:
                pool = memory.pools.get(memory.placement.get(key, ""))
                running = 1 if pool is None else pool.worker_count
                # A pool that this controller has not made is one that it recalls. One that no route
                # names has not served yet, as far as anybody knows.
                known = None if pool is None or decision is not None else pool.versions.get(key)
                is_same = known is not None and known.digest == spec.digest
                is_recalled = is_same and memory.routed_pool(key) is not None
                decision = first_decision(policy, now_s, running, is_proven=is_recalled)
                self._decisions[key], self._digests[key] = decision, spec.digest
            found[key] = decision.count
        for key in self._decisions.keys() - found.keys():
            del self._decisions[key], self._digests[key]
            self._changes.pop(key, None)
        return found

    def look(self, memory: Memory, desired: Desired, observed: Observed, now_s: float) -> bool:
        """Take in what workers report, and decide; say whether a number has changed."""
        heard: set[tuple[str, VersionKey]] = set()
        has_changed = False
        for key, pool, policy in self._scaled(memory, desired):
            workers = [one for one in observed.get(pool, ()) if one.state == "ready"]
            loads = tuple(self._loads(key, workers, heard))
            decision = decide(
                policy,
                self._decisions[key],
                together(loads) if loads else None,
                now_s,
                most=self._most(policy, memory.pools[pool]),
                least=_least(key, policy, desired),
            )
            has_changed |= self._take(key, decision)
        self._said = {place: said for place, said in self._said.items() if place in heard}
        return has_changed

    def wake(self, key: VersionKey, spec: VersionSpec | None, now_s: float) -> bool:
        """Somebody calls a version that has no worker; say whether one has to be started."""
        decision = self._decisions.get(key)
        if decision is None or spec is None or spec.policy.scaling is None:
            return False
        changed = woken(decision, spec.policy.scaling, now_s)
        return self._take(key, changed)

    def statuses(
        self, memory: Memory, desired: Desired, observed: Observed
    ) -> tuple[ScaleStatus, ...]:
        """Describe every scaled version for operators."""
        return tuple(
            ScaleStatus(
                model=key.model,
                version=key.version,
                min_replicas=policy.min_replicas,
                max_replicas=policy.max_replicas,
                wanted=self._decisions[key].count,
                ready=sum(worker.state == "ready" for worker in observed.get(pool, ())),
                cause=self._decisions[key].cause.value,
                changes={c.value: n for c, n in self._changes.get(key, {}).items()},
            )
            for key, pool, policy in sorted(self._scaled(memory, desired))
        )

    def _scaled(
        self, memory: Memory, desired: Desired
    ) -> Iterator[tuple[VersionKey, str, ScalingPolicy]]:
        for key in self._decisions:
            spec, pool = desired.versions.get(key), memory.placement.get(key)
            if spec is None or spec.policy.scaling is None or pool is None:
                continue
            if memory.pools[pool].shape.scaled:
                yield key, pool, spec.policy.scaling

    def _loads(
        self,
        key: VersionKey,
        workers: Sequence[WorkerState],
        heard: set[tuple[str, VersionKey]],
    ) -> Iterator[Load]:
        for worker in workers:
            place = (life_name(worker.address.worker, worker.restart_count), key)
            for new in (one for one in worker.loads if one.key == key):
                heard.add(place)
                said = self._said[place] = lately(self._said.get(place, ()), new, SPAN_S)
                if (load := load_of(said)) is not None:
                    yield load

    def _most(self, policy: ScalingPolicy, pool: Pool) -> int:
        is_bounded = self._worker_limit > 0 and pool.shape.gpu_count == 0
        most = min(policy.max_replicas, self._worker_limit) if is_bounded else policy.max_replicas
        return max(most, policy.min_replicas, 1)

    def _take(self, key: VersionKey, decision: Decision) -> bool:
        before = self._decisions[key]
        self._decisions[key] = decision
        if decision.count == before.count:
            return False
        counts = self._changes.setdefault(key, {})
        counts[decision.cause] = counts.get(decision.cause, 0) + 1
        log.info(
            "version_scaled",
            version=str(key),
            before=before.count,
            after=decision.count,
            cause=decision.cause.value,
        )
        return True


def _least(key: VersionKey, policy: ScalingPolicy, desired: Desired) -> int:
    """A candidate keeps a worker: what is compared with the live version must answer."""
    split = desired.splits.get(key.model)
    is_candidate = split is not None and split.candidate == key.version
    return max(policy.min_replicas, 1) if is_candidate else policy.min_replicas
