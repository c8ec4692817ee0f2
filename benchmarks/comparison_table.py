"""Write what the edge reached beside other servers into the README, as the last `compare` found it.

python -m benchmarks.comparison_table
"""

import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
README: Final = ROOT / "README.md"
REPORT: Final = ROOT / "benchmarks" / "results" / "compare.md"
START: Final = "<!-- comparison: made by `make docs` -->\n"
END: Final = "<!-- end of comparison -->\n"


def with_comparison(readme: str) -> str:
    """Return the README's text with the report's table."""
    before, _, rest = readme.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}{comparison(REPORT.read_text())}{END}{after}"


def comparison(report: str) -> str:
    """Return a report's first table, which says what was required and found, after the machine."""
    head, _, rest = report.partition("\n## ")
    machine = [line for line in head.splitlines() if line.startswith("* ")]
    table = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return "\n".join([*machine, "", *table]) + "\n"


def main() -> int:
    """Rewrite the README."""
    README.write_text(with_comparison(README.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
