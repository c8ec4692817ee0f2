"""What an expression of PromQL asks for."""

import re
from collections.abc import Iterable

from serving.monitor.metric_list import all_metrics, haproxy_metrics
from serving.monitor.metric_spec import MetricSpec

NAME = re.compile(r"(?<![\w:$])((?:bascule|nv|haproxy)_\w+)(\{[^}]*\})?")
MATCHER = re.compile(r'(\w+)(?:=~|!~|!=|=)"')
OF_PROMETHEUS = {"job", "instance", "le"}


def spec_by_series() -> dict[str, MetricSpec]:
    """Return the metric of every series' name."""
    return {name: spec for spec in (*all_metrics(), *haproxy_metrics()) for name in spec.series}


def selected(expressions: Iterable[str]) -> dict[str, set[str]]:
    """Return the names of series that expressions name, with the labels that they match."""
    found: dict[str, set[str]] = {}
    for expression in expressions:
        for name, braces in NAME.findall(expression):
            found.setdefault(name, set()).update(MATCHER.findall(braces))
    return found
