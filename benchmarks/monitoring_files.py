"""Write what is made of the catalogue of metrics: METRICS.md, Prometheus' rules, Grafana's boards.

python -m benchmarks.monitoring_files
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from serving.monitor.alerting.slo import read_slo
from serving.monitor.metric_list import metrics_page
from serving.monitor.monitoring_files import board_files, prometheus_files

ROOT: Final = Path(__file__).parents[1]
PROMETHEUS: Final = ROOT / "deploy" / "prometheus"
GRAFANA: Final = ROOT / "deploy" / "grafana"


def made_files() -> Mapping[Path, str]:
    """Return the files' texts, as they have to be."""
    slo = read_slo((PROMETHEUS / "slo.yaml").read_text())
    return {
        ROOT / "METRICS.md": metrics_page(),
        **{PROMETHEUS / name: text for name, text in prometheus_files(slo).items()},
        **{GRAFANA / name: text for name, text in board_files().items()},
    }


def main() -> int:
    """Rewrite the files."""
    GRAFANA.mkdir(exist_ok=True)
    for path, text in made_files().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
