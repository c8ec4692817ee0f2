"""Serve the ONNX project's test cases, all at once, and ask each over every transport.

    python -m benchmarks.onnx_conformance [--only GLOB] [--list-tensors] [--mode standalone|ray]
    python -m benchmarks.onnx_conformance --http HOST:PORT --grpc HOST:PORT [--only GLOB]
    python -m benchmarks.onnx_conformance --export DIR [--only GLOB] [--list-tensors]

Without `--http` it starts a server for the cases and ends it. With it, that server must serve what
`--export` wrote. A case passes on a transport (HTTP with binary tensors, HTTP with JSON where
strict JSON can carry it, gRPC) if the answer is the reference's within the tolerance of ONNX's own
backend tests. A model that the installed engine cannot load passes if the server refuses it with a
reason and goes on. Prints `N passed, M failed`, and exits 1 when one failed.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import onnx
import onnxruntime

from benchmarks.command import run_main
from benchmarks.instance import InstanceError, running_instance
from benchmarks.onnx_conformance.cases import SLOW, Case, read_cases
from benchmarks.onnx_conformance.repository import as_listed, write_repository
from benchmarks.onnx_conformance.run import Score, has_settled, judge, repository_index
from benchmarks.onnx_conformance.sample import sample
from benchmarks.onnx_conformance.transports import transports
from benchmarks.onnx_conformance.verdict import Verdict, ask_engine

SHOWN_FAILURES: Final = 200


def main() -> int:
    """Run it."""
    options = _options()
    cases, not_carried = read_cases(options.only, SLOW if options.sample else ())
    cases = sample(cases) if options.sample else cases
    if options.export:
        write_repository(options.export, cases, lists_tensors=options.list_tensors)
        print(f"{len(cases)} cases written to {options.export}")
        return 0
    verdicts = {case.name: ask_engine(case) for case in cases}
    try:
        if options.http:
            score = _ask(options, options.http, options.grpc, cases, verdicts)
        else:
            score = _serve_and_ask(options, cases, verdicts)
    except InstanceError as error:
        print(error, file=sys.stderr)
        return 1
    print(_report(score, len(cases), not_carried))
    return 1 if score.failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="the ONNX project's test cases, served")
    parser.add_argument("--only", default="*", metavar="GLOB", help="names of cases")
    parser.add_argument(
        "--sample", action="store_true", help="only so many that each kind of case is there"
    )
    parser.add_argument("--http", metavar="HOST:PORT", help="ask this server instead of a new one")
    parser.add_argument("--grpc", metavar="HOST:PORT", help="its gRPC address")
    parser.add_argument("--mode", choices=("standalone", "ray"), default="standalone")
    parser.add_argument("--export", type=Path, metavar="DIR", help="write the models only")
    parser.add_argument(
        "--list-tensors", action="store_true", help="config.pbtxt lists inputs and outputs"
    )
    options = parser.parse_args()
    if bool(options.http) != bool(options.grpc):
        parser.error("--http and --grpc belong together: a running server has both addresses")
    return options


def _serve_and_ask(
    options: argparse.Namespace, cases: Sequence[Case], verdicts: Mapping[str, Verdict]
) -> Score:
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        write_repository(Path(folder) / "m", cases, lists_tensors=options.list_tensors)
        with running_instance(
            Path(folder) / "m", mode=options.mode, has_started=has_settled(cases)
        ) as instance:
            print(f"{len(cases)} models settled in {instance.ready_s:.1f} s")
            return _ask(options, instance.http, instance.grpc, cases, verdicts)


def _ask(
    options: argparse.Namespace,
    http: str,
    grpc: str,
    cases: Sequence[Case],
    verdicts: Mapping[str, Verdict],
) -> Score:
    sent = [as_listed(case) for case in cases] if options.list_tensors else cases
    with transports(http, grpc) as asks:
        return judge(sent, verdicts, asks, repository_index(http))


def _report(score: Score, case_count: int, not_carried: int) -> str:
    answers = ", ".join(f"{transport} {count}" for transport, count in score.passed.items())
    passed = sum(score.passed.values())
    lines = [f"FAILED {failure}" for failure in score.failures[:SHOWN_FAILURES]]
    hidden = len(score.failures) - SHOWN_FAILURES
    lines += [f"… and {hidden} more failures"] if hidden > 0 else []
    lines += [
        f"{case_count} cases of onnx {onnx.__version__} on onnxruntime {onnxruntime.__version__}",
        f"not served, since the protocol does not know their tensors: {not_carried}",
        f"right answers: {answers or 'none'}; {score.exact} of them bit for bit the bare engine's",
        f"models that this onnxruntime cannot load, refused with the reason: {score.refused}",
        f"not asked, since this onnxruntime alone does not give the reference: {score.left_out}",
        f"{passed + score.refused} passed, {len(score.failures)} failed",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    run_main(main)
