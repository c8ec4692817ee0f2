"""Builds one environment in a process of its own: a worker's host starts it and waits for it.

    python -m serving.environments HOME LOCK_FILE

Every line on standard output is progress; the last one of a failure is its reason, and the exit
status is 1. It dies with its parent, and what it had begun is removed by the next builder.
"""

import sys
from pathlib import Path

from runtimes.errors import BasculeError
from serving.environments.build import build_environment
from serving.environments.store import Environments
from serving.registry.bundles.pins import read_pins


def main() -> int:
    """Build, and return the exit status."""
    home, lock = (Path(text) for text in sys.argv[1:])
    try:
        build_environment(Environments(home), read_pins(lock), _tell)
    except (BasculeError, OSError) as error:
        _tell(error.message if isinstance(error, BasculeError) else f"cannot build: {error}")
        return 1
    return 0


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
