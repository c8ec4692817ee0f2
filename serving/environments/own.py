"""What a process says of the environment that it runs in: asked by workers, and cheap to import."""

import importlib.metadata
import sys
from pathlib import Path

import msgspec

from serving.environments.record import MARK_FILE, Environment


def environment_note() -> str:
    """Say which pinned packages this process really has; empty outside such an environment."""
    try:
        raw = (Path(sys.prefix) / MARK_FILE).read_bytes()
    except OSError:
        return ""
    environment = msgspec.json.decode(raw, type=Environment)
    names = (pinned.partition("==")[0] for pinned in environment.packages)
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return f"runs in environment {environment.key}: {found}"
