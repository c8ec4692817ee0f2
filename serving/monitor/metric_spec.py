"""What is said of a metric, and when one has to be there."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

GPU: Final = "gpu_uuid"
"""The label of a GPU's own metrics, and one more of what a model on a GPU does."""


class Kind(StrEnum):
    """How a metric's values are to be read."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class When(StrEnum):
    """What a node must have for a metric to be there; in the words of the documents."""

    ALWAYS = "always"
    VERSION = "for each version that can answer"
    KNOWN = "for each version that is wanted, ready or not"
    TRAFFIC = "once a version has answered a call"
    POOL = "for each pool of workers"
    WORKER = "for each worker process"
    CACHE = "where a version has a response cache"
    PREDICTION_LOG = "where a version's predictions are logged"
    CONTRACT = "where a version has a data contract"
    CONTRACT_LIMIT = "where a data contract sets a limit of that kind"
    AGE = "where a version says when its data ended"
    DRIFT = "where a version has a drift monitor"
    LABELS = "where labels have come for a version's predictions"
    FINDING = "where preflight noticed something of a version"
    SCALED = "for each version whose number of workers follows its calls"
    RECEIVER = "where receivers of events are named"
    KERNEL = "where the kernel counts it"
    GPU = "where there is an NVIDIA GPU that says it"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """One metric as it is exposed."""

    name: str
    kind: str
    """One of `Kind`."""
    help: str
    labels: tuple[str, ...] = ()
    when: When = When.ALWAYS
    """A rule or a board may only take for granted what its reader's node has."""
    edges: tuple[float, ...] = ()
    """Of a histogram: upper ends of its buckets, ascending; the last one, without end, is not
    among them."""

    @property
    def series(self) -> tuple[str, ...]:
        """The names under which Prometheus keeps it."""
        if self.kind != Kind.HISTOGRAM:
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))


def of_version(
    name: str, kind: str, help_text: str, *more: str, when: When = When.VERSION
) -> MetricSpec:
    """Describe a metric of a model version, with the labels that it has besides."""
    labels = ("model", "version", *more)
    return MetricSpec(name=name, kind=kind, help=help_text, labels=labels, when=when)


def histogram_of_version(
    name: str, edges: tuple[float, ...], help_text: str, *more: str
) -> MetricSpec:
    """Describe a histogram of what a version's answered calls took."""
    return MetricSpec(
        name=name,
        kind=Kind.HISTOGRAM,
        help=help_text,
        labels=("model", "version", *more),
        when=When.TRAFFIC,
        edges=edges,
    )


def of_gpu(name: str, kind: str, help_text: str, *more: str) -> MetricSpec:
    """Describe a metric of a GPU, with the labels that it has besides."""
    return MetricSpec(name=name, kind=kind, help=help_text, labels=(GPU, *more), when=When.GPU)
