"""Write the table of settings into CONFIG.md, from the settings themselves.

python -m benchmarks.settings_table
"""

import sys
from pathlib import Path
from typing import Final

from serving.settings import described_settings

PAGE: Final = Path(__file__).parents[1] / "CONFIG.md"
START: Final = "<!-- settings: made by `make docs` -->\n"
END: Final = "<!-- end of settings -->\n"


def with_table(page: str) -> str:
    """Return the page's text with the current table."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}{table()}{END}{after}"


def table() -> str:
    """Return the table: variable, default, meaning."""
    rows = [
        f"| `{variable}` | {_default(default)} | {meaning} |\n"
        for variable, default, meaning in described_settings()
    ]
    return "| variable | default | meaning |\n|---|---|---|\n" + "".join(rows)


def _default(text: str) -> str:
    return "" if text in {"None", "()", ""} else f"`{text}`"


def main() -> int:
    """Rewrite the page."""
    PAGE.write_text(with_table(PAGE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
