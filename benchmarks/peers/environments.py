"""The peers' environments: one each, outside the project's own, with pinned versions.

A peer's packages may want other versions than Bascule's, and all of them bring `onnxruntime`, which
must never lie beside `onnxruntime-gpu`.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

DEFAULT_CACHE: Final = Path("~/.cache/bascule/peers")
STAMP: Final = "installed.json"
"""Beside an environment's interpreter once all was installed: what was."""
SHOWN_LINES: Final = 3
"""Of what pip says when it fails."""
ENGINE: Final = "onnxruntime==1.32.0"

PEERS: Final[Mapping[str, Sequence[str]]] = MappingProxyType(
    {
        "triton": ("nvidia-pytriton==0.7.0", "numpy==1.26.4", ENGINE),
        "mlserver": ("mlserver==1.7.1", "numpy==2.4.6", ENGINE),
        "litserve": ("litserve==0.2.19", "numpy==2.4.6", ENGINE),
        "bentoml": ("bentoml==1.4.40", "numpy==2.4.6", ENGINE),
        "torchserve": (
            "torchserve==0.12.0",
            "torch-model-archiver==0.12.0",
            "torch==2.13.0",
            "pyyaml",
            "numpy==2.4.6",
            ENGINE,
        ),
    }
)


class PeerError(Exception):
    """A peer's environment is not there, or could not be made; the message says why."""


def python_of(name: str, cache: Path = DEFAULT_CACHE) -> Path:
    """Return the interpreter of a peer's environment.

    Raises:
        PeerError: It was not installed, or not with these versions.
    """
    folder = cache.expanduser() / name
    if not is_installed(name, cache):
        raise PeerError(f"not installed in {folder}: python -m benchmarks.peers.install {name}")
    return folder / "bin" / "python"


def is_installed(name: str, cache: Path = DEFAULT_CACHE) -> bool:
    """Say whether an environment holds what the table wants."""
    stamp = cache.expanduser() / name / STAMP
    return stamp.exists() and json.loads(stamp.read_text()) == list(PEERS[name])


def install(name: str, cache: Path = DEFAULT_CACHE) -> None:
    """Make a peer's environment afresh.

    Raises:
        PeerError: It could not be made, with pip's last words.
    """
    folder = cache.expanduser() / name
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(folder)])
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    _run([*pip, "--quiet", *PEERS[name]])
    (folder / STAMP).write_text(json.dumps(PEERS[name]))


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-SHOWN_LINES:]
        raise PeerError(" / ".join(said) or f"exit status {done.returncode}")
