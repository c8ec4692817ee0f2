"""Which version belongs to which pool. Pure, and stable: what has a fitting pool stays there.

==============  ==================================================================
isolation       pool
==============  ==================================================================
any             its own where it pins packages that its worker must have (`lock_file`)
any             its own where calls decide how many workers it has
any             its group's where it is a model of an ensemble, or one: steps run in one worker
``dedicated``   its own
``shared``      a shared one, unless it was at work when a shared worker died
``auto``        a shared one for small, fast, CPU-only versions of `SHAREABLE_FORMATS` with one
                replica; its own for all others, and for what turned out slow or deadly
==============  ==================================================================

Which shared one may change later, by what versions take of a worker's time (`crowding.py`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from serving.ids import VersionKey
from serving.registry.version import Isolation, ServingPolicy, VersionSpec
from serving.rollout.desired import Desired
from serving.rollout.memory import Limits, Memory, Pool, PoolShape

SHAREABLE_FORMATS: Final = frozenset({"onnx", "echo"})
"""Formats whose engine is small and does not leak one model's trouble into another's."""
NO_GROUPS: Final[Mapping[str, str]] = MappingProxyType({})


def place(
    memory: Memory, desired: Desired, limits: Limits, groups: Mapping[str, str] = NO_GROUPS
) -> Memory:
    """Give every wanted version that has not failed a pool, new pools included.

    A version that finds no pool (all slots are taken) stands in `unplaced` with the reason.

    Args:
        memory: Where versions are now.
        desired: What is wanted.
        limits: The operator's bounds.
        groups: Model → the name of its group, for the models of ensembles.
    """
    plan = _Plan.of(memory, limits)
    shapes = _group_shapes(desired, groups)
    waiting: dict[VersionKey, PoolShape] = {}
    for key, spec in desired.versions.items():
        if memory.failure(key, spec.digest):
            continue
        group = groups.get(key.model)
        shape = (
            shapes[group]
            if group is not None
            else pool_shape(spec, memory.move(key, spec.digest), limits)
        )
        pool = memory.placement.get(key) or memory.routed_pool(key)
        if pool is None or not plan.fits(pool, key, shape):
            waiting[key] = shape
        else:
            plan.put(key, pool)
    plan.count_guests(memory)
    for key, shape in waiting.items():
        plan.find(key, shape)
    return replace(
        memory,
        pools=plan.pools,
        placement=plan.placement,
        unplaced=plan.unplaced,
        pool_count=plan.pool_count,
    )


def pool_shape(spec: VersionSpec, move: str, limits: Limits) -> PoolShape:
    """Say what kind of pool a version needs; `move` is why it may not share, if so."""
    policy = spec.policy
    gpu_count = policy.gpu_count if policy.device.startswith("cuda") else 0.0
    scaled = policy.scaling is not None
    replica_count = 0 if scaled else policy.replica_count
    if spec.lock_file:  # a worker has one set of packages
        return PoolShape(
            dedicated=True,
            replica_count=replica_count,
            scaled=scaled,
            gpu_count=gpu_count,
            profile=policy.profile,
            lock_file=spec.lock_file,
        )
    may_share = policy.isolation is Isolation.SHARED or (
        policy.isolation is Isolation.AUTO
        and gpu_count == 0
        and policy.replica_count == 1
        and spec.format in SHAREABLE_FORMATS
        and spec.size_bytes <= limits.shared_model_bytes
    )
    is_shared = may_share and not move
    return PoolShape(
        dedicated=not is_shared,
        replica_count=1 if is_shared else replica_count,
        scaled=scaled,
        gpu_count=gpu_count,
        profile=policy.profile,
    )


def _group_shapes(desired: Desired, groups: Mapping[str, str]) -> dict[str, PoolShape]:
    """Return what each group needs: all that any of its versions needs."""
    needs: dict[str, list[ServingPolicy]] = {}
    locks: dict[str, str] = {}
    for key, spec in desired.versions.items():
        group = groups.get(key.model) if groups else None
        if group is not None:
            needs.setdefault(group, []).append(spec.policy)
            locks[group] = spec.lock_file or locks.get(group, "")
    return {group: _common_shape(group, of, locks[group]) for group, of in needs.items()}


def _common_shape(group: str, policies: Sequence[ServingPolicy], lock_file: str) -> PoolShape:
    on_gpu = [policy for policy in policies if policy.device.startswith("cuda")]
    profiles = sorted({policy.profile for policy in on_gpu or policies} - {""})
    return PoolShape(
        dedicated=True,
        replica_count=max(policy.replica_count for policy in policies),
        gpu_count=max((policy.gpu_count for policy in on_gpu), default=0.0),
        profile=profiles[0] if profiles else "",
        lock_file=lock_file,
        group=group,
    )


@dataclass(slots=True)
class _Plan:
    """The placement while it grows."""

    limits: Limits
    pools: dict[str, Pool]
    pool_count: int
    placement: dict[VersionKey, str] = field(default_factory=dict)
    unplaced: dict[VersionKey, str] = field(default_factory=dict)
    load: Counter[str] = field(default_factory=Counter)
    """Versions that each pool will host, guests on their way out included."""

    @classmethod
    def of(cls, memory: Memory, limits: Limits) -> "_Plan":
        return cls(limits, dict(memory.pools), memory.pool_count)

    def fits(self, pool: str, key: VersionKey, shape: PoolShape) -> bool:
        known = self.pools.get(pool)
        if known is None or known.shape != shape:
            return False
        return not shape.dedicated or bool(shape.group) or known.versions.keys() <= {key}

    def put(self, key: VersionKey, pool: str) -> None:
        self.placement[key] = pool
        self.load[pool] += 1

    def count_guests(self, memory: Memory) -> None:
        """Count what a pool still hosts because an edge may route to it."""
        for pool, known in memory.pools.items():
            self.load[pool] += sum(self.placement.get(key) != pool for key in known.versions)

    def find(self, key: VersionKey, shape: PoolShape) -> None:
        pool = self._group_pool(shape) if shape.group else None
        pool = pool if shape.dedicated else self._shared_pool(shape)
        if pool is None and len(self.pools) < self.limits.pool_slots:
            self.pool_count += 1
            pool = f"{'d' if shape.dedicated else 's'}{self.pool_count}"
            self.pools[pool] = Pool(shape=shape)
        if pool is None:
            self.unplaced[key] = (
                f"no pool is free: {len(self.pools)} of {self.limits.pool_slots} are in use; "
                "unload a model, let it share a worker (isolation), or raise BASCULE_POOL_SLOTS"
            )
            return
        self.put(key, pool)

    def _group_pool(self, shape: PoolShape) -> str | None:
        return next((pool for pool, known in self.pools.items() if known.shape == shape), None)

    def _shared_pool(self, shape: PoolShape) -> str | None:
        for pool, known in self.pools.items():
            if known.shape == shape and self.load[pool] < self.limits.shared_pool_versions:
                return pool
        return None


def isolation_text(pool: Pool | None, move: str) -> str:
    """Say `shared` or `dedicated`, with the reason when the version had to move."""
    if pool is None:
        return ""
    if pool.shape.group:
        return f"with ensemble {pool.shape.group}"
    kind = "dedicated" if pool.shape.dedicated else "shared"
    return f"{kind}: {move}" if move and pool.shape.dedicated else kind
