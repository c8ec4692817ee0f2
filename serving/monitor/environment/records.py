"""What is said of the environments of workers: conditions of a node, and issues that stand."""

from dataclasses import dataclass
from enum import StrEnum

from runtimes.facts import NodeFacts
from serving.registry.environment import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that slows a node's models down, and lasts."""

    name: str
    """`cpu_pressure`, `steal`, `gpu_throttled`, …: `serving.monitor.environment.limits`."""
    subject: str = ""
    """The GPU's UUID; empty: the whole node."""
    before: str = ""
    """What was measured when all was well, for people."""
    after: str = ""
    """What was measured when it began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuError:
    """An error of a GPU, as its driver numbers it, and how often it was heard of."""

    uuid: str
    xid: int
    text: str
    """For people: `Xid 79 (GPU has fallen off the bus)`."""
    is_fatal: bool
    """Nothing that runs on the GPU can be relied upon."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a worker's supervisor sees of the place that it runs in, some seconds old."""

    facts: NodeFacts | None = None
    """The worker's own facts as it would measure them now; None: nothing has changed."""
    conditions: tuple[Condition, ...] = ()
    """Those of its node."""
    gpu_errors: tuple[GpuError, ...] = ()
    """All that its node's GPUs have reported since its supervisor started."""


class IssueKind(StrEnum):
    """What is wrong with an environment, or was noticed of it."""

    UNDER_WORKER = "under_worker"
    """A library, the driver or the CPU changed under a running worker."""
    BETWEEN_STARTS = "between_starts"
    """A version runs in another environment than before; told once, it does not stand."""
    REPLICAS_DIFFER = "replicas_differ"
    """Two replicas of a version run in environments that can give other results."""
    GPU_ERROR = "gpu_error"
    """A GPU has reported an error; told once, it does not stand."""
    CONDITION = "condition"
    """A node's models are slowed down, by whom or what else there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One thing that is told of: with fields, before and after."""

    kind: IssueKind
    node: str
    """Where; of replicas that differ, the node of the one that differs from the most."""
    subject: str = ""
    """The GPU's UUID, of a condition or an error."""
    changes: tuple[Change, ...]
    workers: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    """`MODEL/VERSION`, sorted."""

    @property
    def key(self) -> tuple[object, ...]:
        """What it is told apart by: a version more under the same change is nothing new."""
        fields = tuple((one.field, one.before, one.after) for one in self.changes)
        if self.kind is IssueKind.CONDITION:  # its figures are those of its beginning
            fields = tuple((one.field, "", "") for one in self.changes)
        return (self.kind, self.node, self.subject, fields)
