"""The version of Bascule that runs: of the installed package, or of the checkout."""

import tomllib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

UNKNOWN: Final = "0+unknown"
PROJECT_FILE: Final = Path(__file__).parent.parent / "pyproject.toml"


@cache
def own_version() -> str:
    """Return the installed package's version; that of the checkout where none is installed."""
    try:
        return version("bascule")
    except PackageNotFoundError:
        return version_of_checkout(PROJECT_FILE)


def version_of_checkout(project_file: Path) -> str:
    """Return the version that a checkout's `pyproject.toml` says; `UNKNOWN` without one."""
    try:
        said = tomllib.loads(project_file.read_text(encoding="utf-8"))["project"]["version"]
    except (OSError, KeyError, ValueError):
        return UNKNOWN
    return str(said)
