"""Who is told of whom: workers that keep sequences of the same model, by an address that works."""

from dataclasses import replace

from serving.edge.control import Snapshot, VersionRecord
from serving.edge.routes import RouteTable, VersionRoute, WorkerAddress
from serving.edge.sequence_peers import peer_tables
from serving.ids import VersionKey
from serving.registry.version import VersionState
from serving.wire.peer_table import PeerTable, SequencePeer
from tests.fakes.cluster import served_version

HERE = WorkerAddress("d1-0", "a", "/run/d1-0.sock", "10.0.0.1:1")
BESIDE = WorkerAddress("d2-0", "a", "/run/d2-0.sock", "10.0.0.1:2")
FAR = WorkerAddress("d3-0", "b", "/run/d3-0.sock", "10.0.0.2:1")
MUTE = WorkerAddress("d4-0", "b", "/run/d4-0.sock")


def snapshot(*workers: WorkerAddress, has_sequences: bool = True) -> Snapshot:
    """Version n of `m` is served by the n-th worker."""
    served = replace(served_version(), has_sequences=has_sequences)
    keys = {VersionKey("m", n): worker for n, worker in enumerate(workers, 1)}
    return Snapshot(
        routes=RouteTable(
            pools={worker.worker: (worker,) for worker in workers},
            versions={key: VersionRoute(worker.worker) for key, worker in keys.items()},
        ),
        versions={
            key: VersionRecord(
                model=key.model, version=key.version, state=VersionState.READY, served=served
            )
            for key in keys
        },
    )


def test_workers_of_a_model_know_each_other() -> None:
    """By socket on the same node, by TCP on others; each edge tells its own node's workers."""
    tables = peer_tables(snapshot(HERE, BESIDE, FAR, MUTE), "a")
    assert tables == {
        HERE: PeerTable(
            peers=(
                SequencePeer(model="m", version=2, worker="d2-0", socket=BESIDE.socket),
                SequencePeer(model="m", version=3, worker="d3-0", tcp=FAR.tcp),
            )
        ),
        BESIDE: PeerTable(
            peers=(
                SequencePeer(model="m", version=1, worker="d1-0", socket=HERE.socket),
                SequencePeer(model="m", version=3, worker="d3-0", tcp=FAR.tcp),
            )
        ),
    }


def test_models_without_sequences_are_left_alone() -> None:
    """Their workers are told nothing, and one with sequences has no peers where it is alone."""
    assert peer_tables(snapshot(HERE, BESIDE, has_sequences=False), "a") == {}
    assert peer_tables(snapshot(HERE), "a") == {HERE: PeerTable()}
