"""Pieces of PromQL, made of the catalogue's metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from serving.monitor.metric_spec import MetricSpec

OURS: Final = 'transport=~"http|grpc"'
"""Calls of clients: no steps of ensembles, no copies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert."""

    name: str
    expression: str
    severity: str
    """`page`: wake somebody; `warning`: a ticket; `none`: it always fires."""
    summary: str
    """One line, with the labels of the series in `{{ }}`."""
    action: str
    """What to do about it."""
    after: str = "0m"
    """How long it has to hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One series that Prometheus computes ahead."""

    name: str
    expression: str


def series(metric: MetricSpec, *matchers: str, part: str = "") -> str:
    """Select a metric's series.

    Args:
        metric: Of the catalogue.
        matchers: As PromQL writes them.
        part: Of a histogram: bucket, sum or count.
    """
    name = f"{metric.name}_{part}" if part else metric.name
    given = [matcher for matcher in matchers if matcher]
    return f"{name}{{{','.join(given)}}}" if given else name


def rate(metric: MetricSpec, window: str, *matchers: str, by: Sequence[str], part: str = "") -> str:
    """Return how fast a counter grows a second, summed by labels."""
    return f"sum by ({', '.join(by)}) (rate({series(metric, *matchers, part=part)}[{window}]))"


def grew(metric: MetricSpec, window: str, *matchers: str) -> str:
    """Return by how much a counter grew."""
    return f"increase({series(metric, *matchers)}[{window}])"


def bucket_end(edge_s: float) -> str:
    """Match the bucket that ends at an edge: Prometheus 3 writes whole numbers as `1.0`."""
    text = f"{edge_s:g}"
    return f'le=~"{text}(\\\\.0)?"' if edge_s == int(edge_s) else f'le="{text}"'


def but(models: Sequence[str]) -> str:
    """Match all models but some."""
    return f'model!~"{_either(models)}"' if models else ""


def _either(models: Sequence[str]) -> str:
    return "|".join(model.replace(".", "\\\\.") for model in models)
