"""Records on their way between actors: Ray cannot pickle the read-only mappings that they hold."""

from dataclasses import replace

from runtimes.facts import NodeFacts
from serving.edge.control import ClusterStatus, Snapshot
from serving.rollout.ports import WorkerState


def portable_snapshot(snapshot: Snapshot) -> Snapshot:
    """The same snapshot with plain dictionaries."""
    routes = replace(
        snapshot.routes,
        pools=dict(snapshot.routes.pools),
        versions=dict(snapshot.routes.versions),
        live=dict(snapshot.routes.live),
    )
    return replace(snapshot, routes=routes, versions=dict(snapshot.versions))


def portable_status(status: ClusterStatus) -> ClusterStatus:
    """The same status with plain dictionaries."""
    return replace(status, live=dict(status.live))


def portable_worker(state: WorkerState) -> WorkerState:
    """The same report with plain dictionaries."""
    return replace(state, versions=dict(state.versions))


def portable_facts(facts: NodeFacts) -> NodeFacts:
    """The same facts with plain dictionaries."""
    return replace(facts, packages=dict(facts.packages), labels=dict(facts.labels))
