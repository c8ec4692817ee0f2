"""Pure: which schedulings of a model could be tried, and which are tried next.

The search climbs: the present scheduling and the corners first (one small worker, as many workers
as CPUs, one worker with all threads), then the neighbours of the best, then other ways to join
calls, and neighbours again, until the best has none left. Equal measurements lead the same way.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product

from serving.cli.tune.records import Trial, best_of
from serving.registry.model_config.scheduling import NATURAL, Joining, Scheduling
from serving.registry.version import ServingPolicy

PREFERRED_ROWS = (4, 16)
DELAY_PARTS = (20, 5)
"""Such parts of the promised time may be spent waiting for company."""
US_PER_S = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What may vary."""

    present: Scheduling
    cpus: int
    """Engines together occupy no more."""
    instances: tuple[int, ...]
    threads: tuple[int, ...]
    joinings: tuple[Joining, ...]

    def all(self) -> tuple[Scheduling, ...]:
        """Return every scheduling, the present one first."""
        return tuple(
            dict.fromkeys(
                (
                    self.present,
                    *(
                        Scheduling(instances=count, threads=threads, joining=joining)
                        for joining, count, threads in product(
                            self.joinings, self.instances, self.threads
                        )
                        if count * threads <= self.cpus
                    ),
                )
            )
        )

    def first(self) -> tuple[Scheduling, ...]:
        """Return the present scheduling and the corners."""
        least, most = self.instances[0], self.instances[-1]
        few, many = self.threads[0], self.threads[-1]
        corners = ((least, few), (most, few), (least, many))
        found = (replace(self.present, instances=one, threads=two) for one, two in corners)
        return tuple(dict.fromkeys((self.present, *(s for s in found if s.cores <= self.cpus))))

    def neighbours(self, one: Scheduling) -> Iterator[Scheduling]:
        """Yield what differs by a step in instances, in threads, or in both against each other."""
        steps = ((1, 0), (0, 1), (1, -1), (-1, 1), (-1, 0), (0, -1))
        for more, wider in steps:
            instances = _step(self.instances, one.instances, more)
            threads = _step(self.threads, one.threads, wider)
            if instances and threads and instances * threads <= self.cpus:
                yield replace(one, instances=instances, threads=threads)


def space_of(
    policy: ServingPolicy, present: Scheduling, *, max_rows: int, cpus: int, slo_s: float
) -> Space:
    """Return what may vary of a model on a node.

    Args:
        policy: The model's.
        present: What it comes to here.
        max_rows: Rows of a batch; 0 or 1: calls are not joined.
        cpus: What the engines may use together.
        slo_s: What 99 of 100 calls may take.
    """
    # Instances that name their GPUs are as many as those; threads matter to CPUs only.
    has_free_count = policy.device == "cpu"
    has_free_threads = policy.device == "cpu" and not policy.deterministic
    return Space(
        present=present,
        cpus=max(cpus, 1),
        instances=_sizes(cpus, present.instances) if has_free_count else (present.instances,),
        threads=_sizes(cpus, present.threads) if has_free_threads else (present.threads,),
        joinings=_joinings(present.joining, max_rows, slo_s),
    )


def next_wave(
    space: Space, tried: Mapping[Scheduling, Trial], slo_s: float
) -> tuple[Scheduling, ...]:
    """Return what to try next; nothing: the best has no neighbour that was not tried."""
    best = best_of(tuple(tried.values()), slo_s)
    waves = [space.first()]
    if best is not None:
        one = best.scheduling
        waves.append(tuple(space.neighbours(one)))
        waves.append(tuple(replace(one, joining=joining) for joining in space.joinings))
    for wave in waves:
        new = tuple(dict.fromkeys(one for one in wave if one not in tried))
        if new:
            return new
    return ()


def _sizes(cpus: int, present: int) -> tuple[int, ...]:
    """Powers of two up to the CPUs, these themselves, and what there is."""
    powers = {1 << bit for bit in range(cpus.bit_length()) if 1 << bit <= cpus}
    return tuple(sorted({*powers, max(cpus, 1), present}))


def _joinings(present: Joining, max_rows: int, slo_s: float) -> tuple[Joining, ...]:
    if max_rows <= 1:
        return (present,)
    delays = [Joining(max_queue_delay_us=round(slo_s * US_PER_S / part)) for part in DELAY_PARTS]
    caps = [Joining(preferred_rows=(rows,)) for rows in PREFERRED_ROWS if rows < max_rows]
    return tuple(dict.fromkeys((present, NATURAL, *delays, *caps)))


def _step(sizes: tuple[int, ...], now: int, by: int) -> int:
    """Return the size a step away; 0 where there is none."""
    at = sizes.index(now) + by
    return sizes[at] if 0 <= at < len(sizes) else 0
