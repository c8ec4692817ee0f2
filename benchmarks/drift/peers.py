"""The environment of the other tools: made once, outside the project's own, and asked by files."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("river==0.26.*", "evidently==0.7.*", "scikit-learn", "scipy", "pandas<3")


def peers_python(folder: Path, packages: Sequence[str] = PACKAGES) -> Path:
    """Return the interpreter of the tools' environment; make it if it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        wanted = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        subprocess.run([str(python), *wanted], check=True)
    return python


def start(python: Path, module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a module of this package in the tools' environment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # noqa: TID251  for the child
    command = [str(python), "-m", f"benchmarks.drift.{module}", *arguments]
    return subprocess.Popen(command, env=environment, cwd=ROOT)
