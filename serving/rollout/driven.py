"""The parts that the controller drives and reads, as it is given them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from serving.clock import Clock
from serving.edge.control import VersionRecord
from serving.events.courier import Courier
from serving.ids import VersionKey
from serving.registry.announcing.drift_book import DriftBook
from serving.registry.rollouts.book import RolloutBook
from serving.registry.rollouts.forecast import Room
from serving.rollout.environment_book import EnvironmentBook
from serving.rollout.environment_watch import EnvironmentWatch
from serving.rollout.label_watch import LabelWatch
from serving.rollout.memory import Memory
from serving.rollout.ports import Cluster, Edges
from serving.rollout.sources import Sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What the controller drives and reads."""

    cluster: Cluster
    edges: Edges
    sources: Sources
    clock: Clock
    memory: Memory | None = None
    """What a controller that was killed has left behind; None where nothing runs yet."""
    asleep: Mapping[VersionKey, VersionRecord] = field(default_factory=lambda: MappingProxyType({}))
    """And what it had told of versions without a worker, which nobody can tell again."""
    environments: EnvironmentWatch | None = None
    """Compares what versions run in; None: nobody does."""
    environment_book: EnvironmentBook | None = None
    """Tells of environments that change; None: nobody does."""
    rollouts: RolloutBook | None = None
    """Where rollouts are kept; None: there are none."""
    courier: Courier | None = None
    """Tells receivers outside of what is recorded; None: nobody does."""
    drift: DriftBook | None = None
    """Tells receivers of drift; None: nobody does."""
    labels: LabelWatch | None = None
    """Judges versions by their labels; None: no prediction is logged."""
    free_room: Callable[[], Room] | None = None
    """Measures what is free; None: it is not known, and nothing is refused for it."""
