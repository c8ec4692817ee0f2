"""Which versions leave a shared worker that has too much to do, by what their batches cost. Pure.

A shared worker is one process, and runs one batch at a time: what a version takes of its time is
missing to all others. Workers say how busy each version keeps them (`serving.monitor.vitals`).

::

    a shared worker is busy for over CROWDED of the time
      │ one version takes HEAVY of that, and others call, too ──► it gets a worker of its own
      └ else ──► versions worth half of the difference go to the shared worker with most room,
                 or to a new one, as long as there are fewer workers than CPUs

A version moves as any other that changes its pool: it serves there before it leaves here. One move
at a time, and none until what moved last has been measured where it is now.

What versions take of a worker that has no time left is not what they would take of another one, so
two such workers could give versions to each other for ever. Hence a worker that took versions over
gives none to one that there is already, for `STAY_S` and twice as long after each further move.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from serving.ids import VersionKey
from serving.rollout.desired import Desired
from serving.rollout.learning import may_add_pool, may_move
from serving.rollout.memory import Limits, Memory, Observed, Pool, Spread, Verdict

CROWDED: Final = 0.5
"""Reading, checking and writing calls is not counted, and takes up to as long as running them: a
worker that runs small models for half of the time has hardly any time left."""
HEAVY: Final = 0.6
BESIDE: Final = 0.05
"""Others that take less than this are hardly called: who would gain?"""
LEAST_GAIN: Final = 0.1
"""A move that makes a worker less busy by a smaller share of its time is not worth it."""
CROWD_LOOK_S: Final = 2.0
"""Between two looks; workers are asked less often than that how busy versions keep them."""
SETTLE_S: Final = 20.0
"""A version that is younger may not have said yet how busy it is."""
STAY_S: Final = 60.0
MAX_DOUBLINGS: Final = 6
FORGIVEN_S: Final = 3600.0
"""A version that has stayed for so long begins anew."""


@dataclass(frozen=True, slots=True)
class _Room:
    """One shared pool: how busy each version keeps its worker, and how long it has been there."""

    pool: str
    busy: Mapping[VersionKey, float]
    age_s: Mapping[VersionKey, float]

    @property
    def total(self) -> float:
        return sum(self.busy.values())

    def has_taken(self, spread: Mapping[VersionKey, Spread]) -> bool:
        """Whether it took versions over lately."""
        taken = ((key, spread[key]) for key in self.busy if key in spread)
        return any(one.pool == self.pool and self.age_s[key] < _stay_s(one) for key, one in taken)


_NOTHING: Final = _Room("", MappingProxyType({}), MappingProxyType({}))


def is_crowded(memory: Memory, desired: Desired, observed: Observed, limits: Limits) -> bool:
    """Whether `relieved` would change anything."""
    return relieved(memory, desired, observed, limits) is not memory


def relieved(memory: Memory, desired: Desired, observed: Observed, limits: Limits) -> Memory:
    """Let versions leave the most crowded shared worker; the same memory if none has to."""
    if _is_moving(memory) or not may_add_pool(memory, limits):
        return memory
    rooms = _rooms(memory, observed)
    crowded = [room for room in rooms if room.total > CROWDED]
    for room in sorted(crowded, key=lambda room: room.total, reverse=True):
        found = _relieve(memory, desired, rooms, room, limits)
        if found is not memory:
            return found
    return memory


def _relieve(
    memory: Memory, desired: Desired, rooms: Sequence[_Room], crowded: _Room, limits: Limits
) -> Memory:
    """Let versions leave one crowded worker; the same memory if that would not help."""
    movable = [key for key in crowded.busy if may_move(memory, desired, key)]
    if not movable:
        return memory
    may_grow = not limits.scaled_workers or len(memory.pools) < limits.scaled_workers
    heaviest = max(movable, key=lambda key: crowded.busy[key])
    heavy = crowded.busy[heaviest]
    if may_grow and heavy >= HEAVY * crowded.total and crowded.total - heavy >= BESIDE:
        return _apart(memory, desired, heaviest, crowded)
    target = _target(rooms, crowded, may_grow=may_grow)
    if target is None or (target.pool and crowded.has_taken(memory.spread)):
        return memory
    return _spread(memory, crowded, movable, target, limits)


def _is_moving(memory: Memory) -> bool:
    return any(
        memory.routed_pool(key) not in (None, pool) for key, pool in memory.placement.items()
    )


def _rooms(memory: Memory, observed: Observed) -> list[_Room]:
    """Return how busy every shared worker is; nothing while one of them is not known yet."""
    rooms: list[_Room] = []
    for pool, known in memory.pools.items():
        if known.shape.dedicated:
            continue
        busy: dict[VersionKey, float] = {}
        age_s: dict[VersionKey, float] = {}
        for one in (one for worker in observed.get(pool, ()) for one in worker.vitals):
            if memory.placement.get(one.key) != pool:
                continue  # it has left since
            if one.busy is None and one.traffic.age_s < SETTLE_S:
                return []
            busy[one.key] = one.busy or 0.0
            age_s[one.key] = one.traffic.age_s
        rooms.append(_Room(pool, busy, age_s))
    return rooms


def _apart(memory: Memory, desired: Desired, key: VersionKey, crowded: _Room) -> Memory:
    reason = (
        f"it took {crowded.busy[key]:.0%} of a shared worker's time, and others "
        f"{crowded.total - crowded.busy[key]:.0%}"
    )
    verdict = Verdict(desired.versions[key].digest, reason)
    return replace(memory, moves={**memory.moves, key: verdict})


def _target(rooms: Iterable[_Room], crowded: _Room, *, may_grow: bool) -> _Room | None:
    """Return the shared worker with most room; one without a name is to be started."""
    others = [room for room in rooms if room.pool != crowded.pool]
    least = min(others, key=lambda room: room.total, default=None)
    if may_grow and (least is None or least.total > CROWDED / 2):
        return _NOTHING
    return least


def _spread(
    memory: Memory,
    crowded: _Room,
    movable: Sequence[VersionKey],
    target: _Room,
    limits: Limits,
) -> Memory:
    """Move versions from one shared worker to another one, if that gains enough."""
    hosted = sum(pool == target.pool for pool in memory.placement.values())
    chosen = _chosen(crowded, target, movable)[: limits.shared_pool_versions - hosted]
    moved = sum(crowded.busy[key] for key in chosen)
    if crowded.total - max(crowded.total - moved, target.total + moved) < LEAST_GAIN:
        return memory
    pools, pool_count, pool = dict(memory.pools), memory.pool_count, target.pool
    if not pool:
        pool_count += 1
        pool = f"s{pool_count}"
        pools[pool] = Pool(shape=memory.pools[crowded.pool].shape)
    placement = {**memory.placement, **dict.fromkeys(chosen, pool)}
    counts = {key: _spread_count(memory.spread.get(key), crowded.age_s[key]) for key in chosen}
    spread = {**memory.spread, **{key: Spread(pool, count) for key, count in counts.items()}}
    return replace(memory, pools=pools, pool_count=pool_count, placement=placement, spread=spread)


def _stay_s(spread: Spread) -> float:
    """Seconds for which a worker that took a version over gives none to another one."""
    return min(STAY_S * 2.0 ** min(spread.count - 1, MAX_DOUBLINGS), FORGIVEN_S)


def _spread_count(before: Spread | None, age_s: float) -> int:
    return 1 if before is None or age_s >= FORGIVEN_S else before.count + 1


def _chosen(crowded: _Room, target: _Room, movable: Sequence[VersionKey]) -> list[VersionKey]:
    """Choose versions worth half of the difference, each time the one that comes next to it."""
    left = sorted(movable, key=lambda key: crowded.busy[key])
    shares = [crowded.busy[key] for key in left]
    half = (crowded.total - target.total) / 2
    chosen: list[VersionKey] = []
    while left:
        at = bisect_left(shares, half)
        if at and (at == len(left) or half - shares[at - 1] < shares[at] - half):
            at -= 1
        if not 0 < shares[at] < 2 * half:  # the other worker would have as much to do as this one
            break
        half -= shares.pop(at)
        chosen.append(left.pop(at))
    return chosen
