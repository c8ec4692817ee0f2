"""Pieces that boards share: variables, and the queries that several of them ask."""

from typing import Final

from serving.monitor import catalogue
from serving.monitor.alerting.promql import OURS, series
from serving.monitor.boards.layout import Panel, Query, Variable
from serving.monitor.metric_spec import MetricSpec

WINDOW: Final = "$__rate_interval"
JOB: Final = 'job=~"$job"'
MODEL: Final = 'model=~"$model"'
JOBS: Final = Variable(name="job", query=f"label_values({catalogue.READY.name}, job)")
MODELS: Final = Variable(
    name="model",
    query=f'label_values({catalogue.VERSION_READY.name}{{job=~"$job"}}, model)',
    is_multi=True,
)


def per_second(metric: MetricSpec, *matchers: str, by: str, part: str = "") -> str:
    """Return how fast a counter grows, by labels."""
    selected = series(metric, JOB, *matchers, part=part)
    return f"sum by ({by}) (rate({selected}[{WINDOW}]))"


def quantile(share: float, metric: MetricSpec, *matchers: str, by: str) -> str:
    """Return a quantile of a histogram, by labels."""
    buckets = per_second(metric, *matchers, by=f"{by}, le", part="bucket")
    return f"histogram_quantile({share:g}, {buckets})"


def calls(by: str, *matchers: str) -> str:
    """Return answered calls a second."""
    return per_second(catalogue.REQUEST_SUCCESS, *matchers, by=by)


def failures(by: str, *matchers: str) -> str:
    """Return calls a second that failed, but for those whose client left."""
    return per_second(catalogue.REQUEST_FAILURE, 'reason!="CANCELED"', *matchers, by=by)


def failed_share(by: str, *matchers: str) -> str:
    """Return the share of calls that failed."""
    failed = failures(by, *matchers)
    return f"{failed} / ({calls(by, *matchers)} + {failed})"


def latency_panel(title: str, by: str, legend: str, *matchers: str) -> Panel:
    """Show the median and the slowest calls."""
    metric = catalogue.REQUEST_SECONDS
    return Panel(
        title=title,
        unit="s",
        about="From receipt in the worker to the handing over of the reply; clients' calls only.",
        queries=tuple(
            Query(
                expression=quantile(share, metric, OURS, *matchers, by=by),
                legend=f"p{share * 100:g} {legend}",
            )
            for share in (0.5, 0.99)
        ),
    )


def line(title: str, expression: str, legend: str, unit: str = "short", about: str = "") -> Panel:
    """Show one query over time."""
    query = Query(expression=expression, legend=legend)
    return Panel(title=title, unit=unit, about=about, queries=(query,))


def number(title: str, expression: str, unit: str = "short") -> Panel:
    """Show one number."""
    queries = (Query(expression=expression),)
    return Panel(title=title, unit=unit, queries=queries, kind="stat", width=4, height=4)


def value(metric: MetricSpec, *matchers: str, by: str, how: str = "max") -> str:
    """Return a gauge by labels."""
    return f"{how} by ({by}) ({series(metric, JOB, *matchers)})"
