"""Kill `push` and `gc` at random moments, and let the checker look at the registry after each.

::

    python -m benchmarks.registry_kills --kills 200
    python -m benchmarks.registry_kills --kills 200 --url postgresql://USER:PASSWORD@HOST:PORT/DATABASE

A moment is a number of calls of C functions (open, write, fsync, rename, statements, …), drawn at
random from as many as the whole operation makes: every step between two effects can be hit, and a
kill is `SIGKILL`. After each kill nothing that is stored may disagree; and after the next `gc`,
nothing may be left over either. The exit status is 1 if anything was.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.command import run_main
from runtimes.errors import BasculeError
from serving.registry.bundles.bundle import Bundle
from serving.registry.bundles.packing import PackOrder, pack_bundle
from serving.registry.checker import check
from serving.registry.collection import Rules, collect
from serving.registry.store import Registry

CONFIG: Final = """
input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ 4 ] }
"""
MODEL_BYTES: Final = 1 << 20
TAKE_ALL: Final = Rules(takes_archived=True, keep_days=0)
WHO: Final = "killed"
COUNT_FACTOR: Final = 1.1
"""Some kills fall behind the end, where the operation has just been done."""


@dataclass(slots=True)
class Fuse:
    """Counts calls of C functions, and kills this process at one of them (0: never)."""

    limit: int
    count: int = 0

    def __call__(self, _: object, event: str, __: object) -> None:
        """Take one event of the interpreter's profiler."""
        if event == "c_call":
            self.count += 1
            if self.count == self.limit:
                os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The registry that is ill-treated."""

    home: Path
    url: str

    def opened(self) -> Registry:
        """Open it, as a restarted instance would."""
        return Registry(self.home, url=self.url)


@dataclass(slots=True)
class Outcome:
    """What was seen."""

    kills: int = 0
    survived: int = 0
    inconsistent: int = 0
    left_over: int = 0


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--url", default="", help="the catalog's database; default: SQLite")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bascule-kills-") as folder:
        outcome = ill_treat(Path(folder), given.url, given.kills, random.Random(given.seed))
    print(
        f"{outcome.kills} kills, {outcome.inconsistent} inconsistent "
        f"({outcome.survived} operations ended before their kill; "
        f"leftovers that gc did not remove: {outcome.left_over})"
    )
    return 1 if outcome.inconsistent or outcome.left_over else 0


def ill_treat(folder: Path, url: str, kills: int, chance: random.Random) -> Outcome:
    """Kill pushes and collections in turn until there were so many kills."""
    place = Place(home=folder / "home", url=url)
    outcome = Outcome()
    place.opened().close()  # so that what is counted below is no migration
    model = f"kills-{chance.getrandbits(32):08x}"
    spans = {"push": 0, "gc": 0}
    turn = 0
    while outcome.kills < kills:
        turn += 1
        name = "push" if turn % 2 else "gc"
        bundle = _bundle(folder / f"bundle{turn}", model, turn)
        operation = _push(place, bundle) if name == "push" else _gc(place, bundle)
        if not spans[name]:
            spans[name] = _span(operation)
            continue
        if _killed(operation, chance.randint(1, int(spans[name] * COUNT_FACTOR))):
            outcome.kills += 1
        else:
            outcome.survived += 1
        _look(place, outcome, f"{name}, turn {turn}")
    return outcome


def _bundle(folder: Path, model: str, version: int) -> Bundle:
    folder.mkdir()
    source = folder / "model.echo"
    source.write_bytes(version.to_bytes(8, "big") * (MODEL_BYTES // 8))
    order = PackOrder(
        model_file=source,
        name=model,
        version=version,
        created_utc=datetime(2026, 1, 1, tzinfo=UTC),
        config=CONFIG,
    )
    return pack_bundle(order, folder / "bundle")


def _push(place: Place, bundle: Bundle) -> Callable[[], None]:
    def push() -> None:
        with place.opened() as registry:
            registry.push(bundle.folder, WHO)

    return push


def _gc(place: Place, bundle: Bundle) -> Callable[[], None]:
    """Prepare garbage of both kinds: an archived version, and a bundle without any."""
    manifest = bundle.manifest
    with place.opened() as registry:
        pushed = registry.push(bundle.folder, WHO)
        registry.pin_live(manifest.name, manifest.version + 1_000_000, WHO)
        registry.unwant(pushed.model, pushed.version, WHO)

    def gc() -> None:
        with place.opened() as registry:
            collect(registry, TAKE_ALL, WHO)

    return gc


def _span(operation: Callable[[], None]) -> int:
    """Count the calls of a whole operation, in a process of its own."""
    read, write = os.pipe()
    if os.fork() == 0:
        fuse = Fuse(limit=0)
        sys.setprofile(fuse)
        operation()
        sys.setprofile(None)
        os.write(write, str(fuse.count).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        counted = stream.read()
    os.wait()
    return int(counted)


def _killed(operation: Callable[[], None], limit: int) -> bool:
    """Run an operation in a process of its own until the fuse blows; return whether it did."""
    child = os.fork()
    if child == 0:
        sys.setprofile(Fuse(limit=limit))
        operation()
        sys.setprofile(None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _look(place: Place, outcome: Outcome, what: str) -> None:
    """Check as it is, collect garbage, and check again."""
    try:
        with place.opened() as registry:
            problems = [problem for problem in check(registry) if not problem.is_leftover]
            collect(registry, Rules(), WHO)
            left = check(registry)
    except BasculeError as error:
        print(f"after {what}: {error.message}", file=sys.stderr)
        outcome.inconsistent += 1
        return
    for problem in (*problems, *left):
        print(f"after {what}: {problem.subject}: {problem.text}", file=sys.stderr)
    outcome.inconsistent += bool(problems)
    outcome.left_over += bool(left)


if __name__ == "__main__":
    run_main(main)
