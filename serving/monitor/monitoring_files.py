"""Pure: what Prometheus and Grafana are given, by file name."""

from collections.abc import Mapping

from serving.monitor.alerting.rules_file import rules_text, scrape_text
from serving.monitor.alerting.slo import Slo
from serving.monitor.boards.boards import all_boards
from serving.monitor.boards.layout import board_text


def prometheus_files(slo: Slo) -> Mapping[str, str]:
    """Return Prometheus' files."""
    return {"rules.yaml": rules_text(slo), "prometheus.yaml": scrape_text(slo)}


def board_files() -> Mapping[str, str]:
    """Return Grafana's boards."""
    return {f"{board.name}.json": board_text(board) for board in all_boards()}
