"""Which worker copies what to whom. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from serving.edge.routes import WorkerAddress
from serving.ids import VersionKey
from serving.rollout.ports import Mirror
from serving.worker.control import MirrorEntry, MirrorTable


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPlace:
    """A pool's versions, and where its workers listen."""

    versions: frozenset[VersionKey]
    workers: tuple[WorkerAddress, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorOrder:
    """A mirror, and the workers that answer its copies."""

    mirror: Mirror
    targets: tuple[WorkerAddress, ...]


def mirror_orders(
    mirrors: Sequence[Mirror], pools: Mapping[str, PoolPlace], versions: Collection[VersionKey]
) -> tuple[MirrorOrder, ...]:
    """Return what concerns the workers that host some versions: as the live one, or as candidate.

    Args:
        mirrors: All of them.
        pools: All pools.
        versions: Those of the workers in question.
    """
    orders = []
    for mirror in mirrors:
        candidate = VersionKey(mirror.live.model, mirror.candidate)
        if mirror.live in versions or candidate in versions:
            targets = {
                worker
                for place in pools.values()
                if candidate in place.versions
                for worker in place.workers
            }
            orders.append(MirrorOrder(mirror=mirror, targets=tuple(sorted(targets))))
    return tuple(orders)


def mirror_table(orders: Sequence[MirrorOrder], node: str, key: str = "") -> MirrorTable:
    """Write orders as a worker takes them.

    Args:
        orders: What concerns it.
        node: Where it is: workers of other nodes are reached by TCP, if at all.
        key: What copies by TCP are recognised by.
    """
    return MirrorTable(
        mirrors=tuple(
            MirrorEntry(
                model=order.mirror.live.model,
                version=order.mirror.live.version,
                candidate=order.mirror.candidate,
                share=order.mirror.share,
                tolerance=order.mirror.tolerance,
                targets=_reached(order.targets, node),
            )
            for order in orders
        ),
        key=key,
    )


def _reached(targets: Sequence[WorkerAddress], node: str) -> tuple[str, ...]:
    """Return how a worker reaches others; those nearby, if there are any, spare the network."""
    near = tuple(target.socket for target in targets if target.node == node)
    return near or tuple(target.tcp for target in targets if target.tcp)
