"""Pure: what was promised → files for Prometheus."""

from collections.abc import Iterable, Iterator
from typing import Final

import yaml

from serving.monitor.alerting.budgets import budget_alerts, budget_series
from serving.monitor.alerting.data import data_alerts
from serving.monitor.alerting.parts import part_alerts
from serving.monitor.alerting.promql import Alert, Recording
from serving.monitor.alerting.slo import Slo
from serving.monitor.alerting.watching import watching_alerts

MADE: Final = "# Made by `bascule metrics rules` from slo.yaml and the catalogue of metrics.\n"


def alerts(slo: Slo) -> Iterator[Alert]:
    """Give every alert."""
    yield from budget_alerts(slo)
    yield from part_alerts(slo)
    yield from data_alerts(slo)
    yield from watching_alerts(slo)


def rules_text(slo: Slo) -> str:
    """Return the file of rules: what is computed ahead, and the alerts."""
    groups = [
        _group("bascule-budgets", (_recorded(one) for one in budget_series(slo))),
        _group("bascule-budget-alerts", (_alert(one) for one in budget_alerts(slo))),
        _group("bascule-parts", (_alert(one) for one in part_alerts(slo))),
        _group("bascule-data", (_alert(one) for one in data_alerts(slo))),
        _group("bascule-watching", (_alert(one) for one in watching_alerts(slo))),
    ]
    return MADE + _yaml({"groups": groups})


def scrape_text(slo: Slo) -> str:
    """Return an example of Prometheus' own configuration."""
    config = {
        "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
        "rule_files": ["rules.yaml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["127.0.0.1:9093"]}]}]},
        "scrape_configs": [
            {"job_name": slo.job, "static_configs": [{"targets": ["127.0.0.1:8002"]}]}
        ],
    }
    note = "# An example: one target for each node, with the address of its metrics.\n"
    return MADE + note + _yaml(config)


def _yaml(value: object) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, width=110))


def _group(name: str, rules: Iterable[dict[str, object]]) -> dict[str, object]:
    return {"name": name, "rules": list(rules)}


def _recorded(one: Recording) -> dict[str, object]:
    return {"record": one.name, "expr": one.expression}


def _alert(one: Alert) -> dict[str, object]:
    return {
        "alert": one.name,
        "expr": one.expression,
        "for": one.after,
        "labels": {"severity": one.severity},
        "annotations": {"summary": one.summary, "description": one.action},
    }
