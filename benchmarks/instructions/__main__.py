"""Instructions per request on the worker's hot path, against a recorded baseline.

python -m benchmarks.instructions [--update] [--judge FILE] [--baseline FILE] [--results DIR]

Counts, with valgrind's callgrind, what a worker's process runs for one request from the bytes that
came to the bytes that go: `in_process.py` says what is real. `tiny` is asked one row at a time:

* `http alone`: binary tensors over HTTP, one connection, so every batch is one call;
* `http`, `grpc`: eight connections at once, so eight calls make a batch;
* `http contract`: the same of a version with a data contract on its input and its output;
* `http drift`: of one whose rows are watched for drift, one call in sixteen;
* `http watched`: of one with both, whose predictions are logged, one call in a hundred.

The same code gives the same counts within half a percent, however busy the machine is: growth that
no clock can tell from noise is seen. Not in it: the kernel, sockets and HAProxy.

Exit status 1: a kind of call needs over 1.1 times its baseline, or has none. 0: it does not, or
nothing can be compared here (no valgrind, another Python), which is said.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import add_results, command_parser, run_main
from benchmarks.instructions.baseline import (
    BASELINE,
    HOW_TO_UPDATE,
    Counted,
    Line,
    NoCountsError,
    compare,
    read,
    record,
    recorded,
    write,
)
from benchmarks.instructions.counting import (
    CountingError,
    counted,
    differing,
    interpreter,
    why_not,
)


def main() -> int:
    """Count or read, then judge or record."""
    parser = command_parser("benchmarks.instructions", __doc__)
    parser.add_argument("--update", action="store_true", help="record the counts as the baseline")
    parser.add_argument("--judge", type=Path, help="judge these results and count nothing")
    parser.add_argument("--baseline", type=Path, default=BASELINE)
    add_results(parser)
    options = parser.parse_args()
    try:
        return _judged(options)
    except (CountingError, NoCountsError) as error:
        print(error, file=sys.stderr)
        return 1


def _judged(options: argparse.Namespace) -> int:
    if not options.update and not options.baseline.is_file():
        print(f"no baseline at {options.baseline}: {HOW_TO_UPDATE} makes one", file=sys.stderr)
        return 1
    reason = "" if options.judge or options.update else why_not_comparable(options.baseline)
    if reason := reason or ("" if options.judge else why_not()):
        print(f"instructions are not compared: {reason}")
        return 0
    found = _found(options.judge, options.results)
    if options.update:
        record(options.baseline, found)
        print(f"recorded in {options.baseline}")
    baseline = recorded(options.baseline, found.interpreter)
    if baseline is None:
        print(f"{options.baseline} has nothing of {found.interpreter}", file=sys.stderr)
        return 1
    return report(found, baseline)


def why_not_comparable(baseline: Path) -> str:
    """Return why this interpreter's counts say nothing here; empty if they do."""
    if recorded(baseline, interpreter()) is not None:
        return ""
    return f"the baseline has no counts of {interpreter()}"


def report(found: Counted, baseline: Counted) -> int:
    """Print what was found; return the exit status."""
    lines = compare(found, baseline)
    print(table(lines))
    if others := differing(found.packages, baseline.packages):
        print(f"\nother packages than the baseline's: {others}")
    failed = [line for line in lines if line.is_failure]
    for line in failed:
        print(f"\n{line.case}: {line.remark}")
    if failed:
        print(
            "\nFind out what the hot path does more. If it has to, record the new counts with\n"
            f"    {HOW_TO_UPDATE}\nand say in the commit why they grew."
        )
    return 1 if failed else 0


def table(lines: Sequence[Line]) -> str:
    """Return the lines as a Markdown table."""
    rows = ["| call | instructions per request | baseline | ratio | |", "|---|---:|---:|---:|---|"]
    for line in lines:
        numbers = (_number(line.instructions), _number(line.baseline))
        ratio = "" if line.ratio is None else f"{line.ratio:.3f}"
        rows.append(f"| {' | '.join((line.case, *numbers, ratio, line.remark))} |")
    return "\n".join(rows)


def _found(judged: Path | None, results: Path) -> Counted:
    if judged is not None:
        return read(judged)
    found = counted()
    place = results / "instructions.json"
    write(place, found)
    print(f"{found.interpreter}; written to {place}\n")
    return found


def _number(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


if __name__ == "__main__":
    run_main(main)
