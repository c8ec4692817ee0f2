"""Feeds spoilt requests to every decoder: `python -m tests.fuzz --examples 100000 [--seed N]`.

Random bytes and changed valid requests, of HTTP JSON, its binary tensors, protobuf messages, gRPC
frames and compressed messages. Every one must be refused as the client's mistake, or be read as
another parser reads it. Prints a table; a failure is printed with what repeats it, and the exit
status is 1. With `--engine atheris` (extra `fuzz`) libFuzzer changes the valid requests by what
the decoders do with them; what follows `--` is for it.
"""

import argparse
import importlib
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.table import Table

from tests.fuzz.mutate import mutated, nonsense
from tests.fuzz.seeds import Model, Seed, build_models, build_seeds
from tests.fuzz.verdict import Wrong, judge, read_header

WIRES = ("json", "proto", "frame", "packed")
NONSENSE_RATIO = 0.1
MAX_SHOWN = 20
MAX_BYTES = 4096
"""Of one request of libFuzzer's."""


class Fuzzer:
    """The models and what became of the requests to them."""

    def __init__(self) -> None:
        """Build models and seeds."""
        self.models = build_models()
        self.seeds = build_seeds(self.models)
        self.counts: Counter[tuple[str, str]] = Counter()
        self.failures: list[str] = []

    def check_seeds(self) -> None:
        """Judge every valid request as it is: all must be read.

        Raises:
            Wrong: One is not.
        """
        for seed in self.seeds:
            verdict = judge(self.models[seed.model], seed.wire, seed.body, seed.header_length)
            if verdict not in {"read", "invalid_argument"}:  # classes of texts are refused
                raise Wrong(f"a valid request was not read: {verdict}, {seed.body!r}")

    def one(self, chance: random.Random) -> None:
        """Make one request and judge it."""
        seed = chance.choice(self.seeds)
        if chance.random() < NONSENSE_RATIO:
            body = nonsense(chance)
        else:
            body = mutated(chance, seed.body, chance.choice(self.seeds).body)
        length = seed.header_length
        if seed.wire == "json" and chance.random() < NONSENSE_RATIO:
            length = chance.choice((None, 0, -1, 2**31 - 1, len(body), chance.randrange(300)))
        self.judge(seed, body, length)

    def judge(self, seed: Seed, body: bytes, length: int | None) -> None:
        """Judge a request in a seed's place."""
        model: Model = self.models[seed.model]
        try:
            verdict = judge(model, seed.wire, body, length)
            read_header(body[:40])
        except Wrong as wrong:
            verdict = "WRONG"
            self.failures.append(f"{seed.wire} {model.spec.inputs} {length} {body!r}: {wrong}")
        self.counts[seed.wire, verdict] += 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--examples", type=int, default=100_000, help="requests to make")
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other requests")
    parser.add_argument("--engine", choices=("random", "atheris"), default="random")
    parser.add_argument("rest", nargs="*", help="for atheris")
    given = parser.parse_args(argv)
    fuzzer = Fuzzer()
    fuzzer.check_seeds()
    if given.engine == "atheris":
        options = (f"-runs={given.examples}", f"-seed={given.seed}", f"-max_len={MAX_BYTES}")
        return _with_atheris(fuzzer, (*options, *given.rest))
    begin_s = time.perf_counter()
    chance = random.Random(given.seed)  # noqa: S311  no secret
    for _ in range(given.examples):
        fuzzer.one(chance)
    _show(fuzzer, time.perf_counter() - begin_s)
    return 1 if fuzzer.failures else 0


def _with_atheris(fuzzer: Fuzzer, options: Sequence[str]) -> int:
    """Let libFuzzer start from the valid requests, in a process that it may end."""
    atheris = importlib.import_module("atheris")
    with tempfile.TemporaryDirectory() as folder:
        for place, seed in enumerate(fuzzer.seeds):
            (Path(folder) / str(place)).write_bytes(bytes((place,)) + seed.body)
        child = os.fork()
        if not child:
            _fuzz(atheris, fuzzer, (*options, folder))
        _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _fuzz(atheris: ModuleType, fuzzer: Fuzzer, arguments: Sequence[str]) -> None:
    """Fuzz, and end the process; the first byte says which request's place the others take."""

    def one(data: bytes) -> None:
        if data:
            seed = fuzzer.seeds[data[0] % len(fuzzer.seeds)]
            fuzzer.judge(seed, data[1:], seed.header_length)
            if fuzzer.failures:
                raise Wrong(fuzzer.failures[0])

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


def _show(fuzzer: Fuzzer, took_s: float) -> None:
    console = Console()
    verdicts = sorted({verdict for _, verdict in fuzzer.counts})
    table = Table("wire", *verdicts, "all")
    for wire in WIRES:
        row = [fuzzer.counts[wire, verdict] for verdict in verdicts]
        table.add_row(wire, *map(str, row), str(sum(row)))
    console.print(table)
    for failure in fuzzer.failures[:MAX_SHOWN]:
        console.print(failure, markup=False)
    total = sum(fuzzer.counts.values())
    console.print(f"{total} requests, {len(fuzzer.failures)} failures, {took_s:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
