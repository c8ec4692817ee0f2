"""What models of one server cost each other: a short one beside long ones, and all of them at once.

python -m benchmarks.mixed [--rounds N] [--seconds S] [--results DIR]

`tiny` (microseconds a call), `mid`, MiniLM (sentences) and a classifier of text lines share one
instance, which places them as it does by default. First, calls of `tiny` arrive as a Poisson
process does, alone and beside each of the others under a closed loop: who waits behind whom shows
in their p50 and p99, which count from the moment at which a call was to be sent. Then all four have
a closed loop at the same time: each one's calls/s, as a share of what it had alone. Shares that add
up to 1 lose nothing by being mixed; equal ones are fair.
"""

import asyncio
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

from benchmarks.command import add_results, command_parser, count, positive, run_main
from benchmarks.instance import Instance, InstanceError, running_instance, until
from benchmarks.load_tools import LoadError, Measured, http_load, require_tools
from benchmarks.loads import Request
from benchmarks.model_facts import runs_so_far
from benchmarks.models.layout import write_model
from benchmarks.models.small import tiny_graph
from benchmarks.models.wheels import FetchError
from benchmarks.report import machine_lines, write
from benchmarks.throughput import ANSWER_LIMIT_S, prepare_models, workloads
from serving.cli.load.open_loop import ANSWERED
from serving.cli.load.summary import quantile

TINY: Final = Request(model="tiny", inputs={"x": np.ones((1, 16), np.float32)})
RATE: Final = 200.0
"""Calls of `tiny` a second: some percent of a CPU, client and all."""
CONNECTIONS: Final = 16
"""Of each closed loop."""
ALONE: Final = "nobody"
BUSY_LIMIT_S: Final = 30.0
MAX_ROWS: Final = 64
"""Of a batch of `tiny`, as of the others."""
MARGIN_S: Final = 3.0
"""For which a neighbour's load goes on longer: the open loop begins once it is felt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One round of `tiny` beside one neighbour."""

    round: int
    neighbour: str
    p50_s: float
    p99_s: float
    failures: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """One round of one model: by itself, and with all others at the same time."""

    round: int
    model: str
    alone_per_s: float
    together_per_s: float
    failures: str

    @property
    def share(self) -> float:
        """What it kept."""
        return self.together_per_s / self.alone_per_s


def main() -> int:
    """Measure, print, write."""
    parser = command_parser("benchmarks.mixed", __doc__)
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--seconds", type=positive, default=3.0)
    add_results(parser)
    options = parser.parse_args()
    try:
        require_tools()
        besides, together = measure(options.rounds, options.seconds)
    except (FetchError, InstanceError, LoadError) as error:
        print(error, file=sys.stderr)
        return 1
    facts = [*map(asdict, besides), *map(asdict, together)]
    write(options.results, "mixed", page(besides, together), facts)
    return 1 if _failures(besides, together) else 0


def measure(rounds: int, seconds: float) -> tuple[list[Beside], list[Together]]:
    """Serve all models, and call them beside each other; rounds are outermost."""
    others = [workload.request for workload in workloads()]
    besides: list[Beside] = []
    together: list[Together] = []
    with tempfile.TemporaryDirectory(prefix="mixed-") as scratch:
        folder = Path(scratch)
        prepare_models(folder / "models")
        write_model(folder / "models", tiny_graph().folder("tiny", MAX_ROWS))
        scripts = {one.model: one.write_for_wrk(folder) for one in (TINY, *others)}
        with running_instance(folder / "models") as instance:
            measuring = _Measuring(instance, scripts, seconds)
            for number in range(rounds):
                besides += [measuring.beside(number, one) for one in (None, *others)]
                together += measuring.together(number, (TINY, *others))
    return besides, together


@dataclass(frozen=True, slots=True)
class _Measuring:
    """An instance with all models, and how long each load lasts."""

    instance: Instance
    scripts: Mapping[str, Path]
    """Of wrk, by model."""
    seconds: float

    def beside(self, number: int, neighbour: Request | None) -> Beside:
        """Send calls of `tiny` while a neighbour has a closed loop, or nobody has."""
        if neighbour is None:
            return self._asked(number, ALONE)
        before = self._rows(neighbour.model)
        with ThreadPoolExecutor(1) as pool:
            loop = pool.submit(self._loop, neighbour, self.seconds + MARGIN_S)
            until(
                lambda: loop.done() or self._rows(neighbour.model) > before,
                BUSY_LIMIT_S,
                f"{neighbour.model} is called",
            )
            found = self._asked(number, neighbour.model)
            return replace(found, failures=_joined(found.failures, loop.result().failures))

    def together(self, number: int, requests: Sequence[Request]) -> list[Together]:
        """Have each model called alone, then all at once."""
        alone = [self._loop(one, self.seconds) for one in requests]
        with ThreadPoolExecutor(len(requests)) as pool:
            at_once = list(pool.map(lambda one: self._loop(one, self.seconds), requests))
        return [
            Together(
                round=number,
                model=request.model,
                alone_per_s=own.requests_per_s,
                together_per_s=shared.requests_per_s,
                failures=_joined(own.failures, shared.failures),
            )
            for request, own, shared in zip(requests, alone, at_once, strict=True)
        ]

    def _asked(self, number: int, neighbour: str) -> Beside:
        calls = asyncio.run(TINY.open_loop(self.instance.http, seed=number).run(RATE, self.seconds))
        took_s = sorted(one.took_s for one in calls if one.status == ANSWERED)
        if not took_s:
            raise LoadError(f"tiny beside {neighbour}: not one answer")
        lost = len(calls) - len(took_s)
        return Beside(
            round=number,
            neighbour=neighbour,
            p50_s=quantile(took_s, 0.5),
            p99_s=quantile(took_s, 0.99),
            failures=f"{lost} calls of tiny unanswered" if lost else "",
        )

    def _loop(self, request: Request, seconds: float) -> Measured:
        return http_load(
            self.instance.http,
            request.path,
            self.scripts[request.model],
            CONNECTIONS,
            seconds,
            timeout_s=ANSWER_LIMIT_S,
        )

    def _rows(self, model: str) -> int:
        return runs_so_far(self.instance, model).rows


def _joined(*failures: str) -> str:
    return "; ".join(filter(None, failures))


def page(besides: Sequence[Beside], together: Sequence[Together]) -> str:
    """Return the report as Markdown."""
    round_count = len({one.round for one in together})
    lines = [
        f"# Several models of one server: median of {round_count} rounds",
        "",
        *machine_lines(),
        "",
        f"{RATE:.0f} calls/s of `tiny`, a Poisson process, beside {CONNECTIONS} connections:",
        "",
        "| beside | p50 ms | p99 ms | p99, times that beside nobody |",
        "|---|---:|---:|---:|",
    ]
    quiet_s = {one.round: one.p99_s for one in besides if one.neighbour == ALONE}
    for neighbour in dict.fromkeys(one.neighbour for one in besides):
        own = [one for one in besides if one.neighbour == neighbour]
        lines.append(
            f"| {neighbour} | {median(one.p50_s for one in own) * 1e3:.2f} "
            f"| {median(one.p99_s for one in own) * 1e3:.2f} "
            f"| {median(one.p99_s / quiet_s[one.round] for one in own):.1f} |"
        )
    lines += [
        "",
        f"A closed loop of {CONNECTIONS} connections each, alone and all at the same time:",
        "",
        "| model | calls/s alone | with all others | share |",
        "|---|---:|---:|---:|",
    ]
    for model in dict.fromkeys(one.model for one in together):
        of_model = [one for one in together if one.model == model]
        lines.append(
            f"| {model} | {median(one.alone_per_s for one in of_model):,.0f} "
            f"| {median(one.together_per_s for one in of_model):,.0f} "
            f"| {median(one.share for one in of_model):.2f} |"
        )
    sums = [
        sum(one.share for one in together if one.round == number) for number in range(round_count)
    ]
    lines += [f"| sum of shares | | | {median(sums):.2f} |", ""]
    lines += [f"* FAILED: {failure}" for failure in _failures(besides, together)]
    return "\n".join(lines) + "\n"


def _failures(besides: Sequence[Beside], together: Sequence[Together]) -> list[str]:
    found = [one.failures for one in besides] + [one.failures for one in together]
    return list(filter(None, found))


if __name__ == "__main__":
    run_main(main)
