"""Pure: the whole catalogue, and the page that is made of it."""

from collections.abc import Iterator
from typing import Final

from serving.monitor import (
    catalogue,
    edge_catalogue,
    haproxy_catalogue,
    label_catalogue,
    node_catalogue,
)
from serving.monitor.metric_spec import Kind, MetricSpec

HEAD: Final = """# Metrics

All that `:8002/metrics` of a node says, in Prometheus' text format. Made by `make docs` from the
catalogue in the code; `bascule metrics list` prints the same. What is counted of a version is the
sum over the node's workers and those that it had before: it goes on when a worker is restarted or
replaced, and begins at 0 when the version is new on the node. Sum over nodes for an instance.

"""

OF_HAPROXY: Final = """
## Of HAProxy

It says more than these, under its own names; rules and boards look at:

"""


def all_metrics() -> tuple[MetricSpec, ...]:
    """Return every metric of ours and Triton's, in the catalogue's order."""
    catalogues = (catalogue, edge_catalogue, node_catalogue, label_catalogue)
    found = (value for each in catalogues for value in vars(each).values())
    return tuple(value for value in found if isinstance(value, MetricSpec))


def haproxy_metrics() -> tuple[MetricSpec, ...]:
    """Return those of HAProxy's own that rules and boards look at."""
    found = vars(haproxy_catalogue).values()
    return tuple(value for value in found if isinstance(value, MetricSpec))


def metrics_page() -> str:
    """Return the text of METRICS.md."""
    return HEAD + "".join(
        (
            *_table(all_metrics()),
            OF_HAPROXY,
            *_table(haproxy_metrics()),
            "\n## Buckets of histograms\n\n",
            *_edges(),
        )
    )


def _table(metrics: tuple[MetricSpec, ...]) -> Iterator[str]:
    yield "| metric | kind | labels | meaning | there |\n|---|---|---|---|---|\n"
    for one in metrics:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        yield f"| `{one.name}` | {one.kind} | {labels} | {one.help} | {one.when.value} |\n"


def _edges() -> Iterator[str]:
    for one in all_metrics():
        if one.kind == Kind.HISTOGRAM:
            edges = ", ".join(f"{edge:g}" for edge in one.edges)
            yield f"`{one.name}`: {edges}, +Inf.\n"
