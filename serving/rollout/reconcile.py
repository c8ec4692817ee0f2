"""(desired, observed, memory) → ordered actions. Pure; the controller carries them out.

Order of a pass: pools are started and added to, then the snapshot is published, then pools end.
What makes a swing free of gaps is one rule: *a pool hosts what belongs to it and what any table in
force routes to it*, and the steps of such an ensemble. So a version enters its new pool before its
route changes, and leaves the old one in the pass after every edge has acknowledged that change.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from serving.edge.control import Snapshot
from serving.ids import VersionKey
from serving.registry.version import VersionSpec
from serving.rollout.crowding import relieved
from serving.rollout.desired import Desired
from serving.rollout.learning import learn
from serving.rollout.memory import Limits, Memory, Observed, Pool
from serving.rollout.placement import NO_GROUPS, place
from serving.rollout.ports import PoolSpec
from serving.rollout.records import snapshot_of
from serving.rollout.routing import next_routes, views_of

NO_COUNTS: Final[Mapping[VersionKey, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """What to do now, in this order: `ensure`, publish `snapshot` if there is one, `stop`."""

    memory: Memory
    """To be kept if all of it is carried out."""
    ensure: tuple[PoolSpec, ...]
    snapshot: Snapshot | None
    stop: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.ensure and not self.stop and self.snapshot is None


def reconcile(  # noqa: PLR0913  all that a decision takes, in one place
    memory: Memory,
    desired: Desired,
    observed: Observed,
    limits: Limits,
    published: Snapshot,
    *,
    groups: Mapping[str, str] = NO_GROUPS,
    counts: Mapping[VersionKey, int] = NO_COUNTS,
) -> Actions:
    """Compute the next steps towards what is wanted.

    Args:
        memory: As the last pass left it, with the tables that are in force now.
        desired: What is wanted.
        observed: The workers of every pool, as last heard of.
        limits: Bounds on placement.
        published: The newest snapshot that the edges were given.
        groups: Model → the name of its group, for the models of ensembles.
        counts: How many workers each scaled version shall have.
    """
    memory = learn(memory, desired, observed, limits)
    memory = relieved(memory, desired, observed, limits)
    memory = place(memory, desired, limits, groups)
    before = memory.pools
    memory = replace(memory, pools=_counted(memory, counts))
    views = views_of(observed)
    routes = next_routes(memory, desired, views)
    snapshot = snapshot_of(memory, desired, views, routes, published)
    after = _pools(memory, desired)
    kept = {pool: known for pool, known in after.items() if known.versions}
    memory = replace(memory, pools=kept)
    return Actions(
        memory=memory,
        ensure=tuple(known.spec(pool) for pool, known in kept.items() if known is not before[pool]),
        snapshot=None if snapshot == published else snapshot,
        stop=tuple(pool for pool in after if pool not in kept),
    )


def _counted(memory: Memory, counts: Mapping[VersionKey, int]) -> Mapping[str, Pool]:
    """Return every pool with the number of workers that its scaled version shall have."""
    wanted = {memory.placement[key]: n for key, n in counts.items() if key in memory.placement}
    changed = {
        pool: replace(known, worker_count=wanted[pool])
        for pool, known in memory.pools.items()
        if known.shape.scaled and known.worker_count != wanted.get(pool, known.worker_count)
    }
    return {**memory.pools, **changed} if changed else memory.pools


def _pools(memory: Memory, desired: Desired) -> dict[str, Pool]:
    """Return every pool with what it shall host; a pool that need not change stays the same."""
    hosting: dict[str, dict[VersionKey, VersionSpec]] = {pool: {} for pool in memory.pools}
    for table in memory.in_force:
        for key, route in table.versions.items():
            if route.pool in hosting and key in memory.pools[route.pool].versions:
                hosting[route.pool][key] = memory.pools[route.pool].versions[key]
    for key, pool in memory.placement.items():
        hosting[pool][key] = desired.versions[key]
    for pool, hosted in hosting.items():
        _keep_steps(hosted, memory.pools[pool].versions)
    return {
        pool: known
        if _is_same(known.versions, hosting[pool])
        else replace(known, versions=hosting[pool])
        for pool, known in memory.pools.items()
    }


def _keep_steps(
    hosted: dict[VersionKey, VersionSpec], before: Mapping[VersionKey, VersionSpec]
) -> None:
    """Keep what ensembles run: routes of their steps may have moved on before theirs."""
    steps = [step for spec in hosted.values() for step in spec.policy.ensemble]
    while steps:
        step = steps.pop()
        key = VersionKey(step.model, step.version)
        if key in before and key not in hosted:
            hosted[key] = before[key]
            steps.extend(before[key].policy.ensemble)


def _is_same(
    one: Mapping[VersionKey, VersionSpec], other: Mapping[VersionKey, VersionSpec]
) -> bool:
    return one.keys() == other.keys() and all(
        spec.digest == other[key].digest for key, spec in one.items()
    )
