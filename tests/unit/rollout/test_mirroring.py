"""Which worker is told to copy what to whom."""

from serving.edge.routes import WorkerAddress
from serving.ids import VersionKey
from serving.rollout.mirroring import PoolPlace, mirror_orders, mirror_table
from serving.rollout.ports import Mirror

OLD, NEW, OTHER = VersionKey("m", 1), VersionKey("m", 2), VersionKey("n", 1)
HERE = WorkerAddress("d2-a", "here", "/run/d2-a.sock", "10.0.0.1:7000")
THERE = WorkerAddress("d2-b", "there", "/run/d2-b.sock", "10.0.0.2:7000")
LIVE = WorkerAddress("s1-a", "here", "/run/s1-a.sock")
POOLS = {
    "s1": PoolPlace(versions=frozenset({OLD, OTHER}), workers=(LIVE,)),
    "d2": PoolPlace(versions=frozenset({NEW}), workers=(HERE, THERE)),
    "s3": PoolPlace(versions=frozenset({OTHER}), workers=(LIVE,)),
}
MIRROR = Mirror(live=OLD, candidate=2, share=500, tolerance="label")


def test_both_sides_are_told_and_nobody_else() -> None:
    """Workers of the live version, and workers of the candidate."""
    told = {
        pool: bool(mirror_orders([MIRROR], POOLS, place.versions)) for pool, place in POOLS.items()
    }
    assert told == {"s1": True, "d2": True, "s3": False}


def test_workers_nearby_are_reached_by_their_sockets() -> None:
    """The network is for those that have no candidate on their node."""
    orders = mirror_orders([MIRROR], POOLS, POOLS["s1"].versions)
    (near,) = mirror_table(orders, "here").mirrors
    (far,) = mirror_table(orders, "elsewhere", "key").mirrors
    assert near.targets == ("/run/d2-a.sock",)
    assert far.targets == ("10.0.0.1:7000", "10.0.0.2:7000")
    assert (near.version, near.candidate, near.share, near.tolerance) == (1, 2, 500, "label")


def test_a_candidate_without_workers_gets_no_copies() -> None:
    """The mirror stands, with nobody to send to."""
    pools = {"s1": POOLS["s1"]}
    (entry,) = mirror_table(mirror_orders([MIRROR], pools, {OLD}), "here").mirrors
    assert entry.targets == ()
