"""Write what is made of the catalogue of metrics: METRICS.md.

python -m benchmarks.monitoring_files
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from serving.monitor.metric_list import metrics_page

ROOT: Final = Path(__file__).parents[1]


def made_files() -> Mapping[Path, str]:
    """Return the files' texts, as they have to be."""
    return {ROOT / "METRICS.md": metrics_page()}


def main() -> int:
    """Rewrite the files."""
    for path, text in made_files().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
