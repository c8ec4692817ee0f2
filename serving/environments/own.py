"""What a process says of the environment that it runs in: asked by workers, and cheap to import."""

import importlib.metadata
import sys
from pathlib import Path

from serving.environments.record import read_mark


def environment_note() -> str:
    """Say which pinned packages this process really has; empty outside such an environment."""
    environment = read_mark(Path(sys.prefix))
    if environment is None:
        return ""
    names = (pinned.partition("==")[0] for pinned in environment.packages)
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return f"runs in environment {environment.key}: {found}"
