"""Run by a test: push a bundle in many child processes, each killed at another moment.

The moments are counted in calls of C functions (open, write, fsync, rename, SQL execution, …), so
every step between two effects on the disk is a moment. After each kill the registry is opened as a
restarted instance would open it; what is found then is printed, one line a kill.
"""

import os
import signal
import sys
from pathlib import Path

from runtimes.errors import BasculeError
from serving.registry.bundles.bundle import read_bundle
from serving.registry.store import Registry


class Fuse:
    """Kills this process at the n-th call of a C function."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self, _: object, event: str, __: object) -> None:
        """Count one event of the interpreter's profiler."""
        if event == "c_call":
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def push_in_child(home: Path, bundle: Path, calls: int) -> bool:
    """Push until the fuse blows; return whether it did."""
    child = os.fork()
    if child == 0:
        sys.setprofile(Fuse(calls))
        with Registry(home) as registry:
            registry.push(bundle, "ann")
        sys.setprofile(None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def state_of(home: Path, bundle: Path) -> str:
    """Say what is in the registry, and push the bundle again to see that it can be repaired."""
    with Registry(home) as registry:
        before = registry.picture().wanted
        for spec in before:
            read_bundle(Path(spec.file).parent)
        registry.push(bundle, "bob")
        read_bundle(Path(registry.picture().wanted[0].file).parent)
        events = sum(event.action == "push" for event in registry.events())
        wanted = registry.picture().wanted
    rest = list((home / "registry" / "staging").iterdir())
    return f"{len(before)} version, then {len(wanted)}, {events} event, {len(rest)} left"


def main(root: Path, bundle: Path, step: int) -> None:
    """Kill pushes at each `step`-th call until one is fast enough to end by itself."""
    calls = 1
    is_killed = True
    while is_killed:
        home = root / str(calls)
        is_killed = push_in_child(home, bundle, calls)
        try:
            said = state_of(home, bundle)
        except BasculeError as error:
            said = f"after {calls} calls: {error.message}"
        sys.stdout.write(f"{said}\n")
        calls += step


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
