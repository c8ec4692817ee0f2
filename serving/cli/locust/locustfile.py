"""What Locust reads: its users, its shape and its figures, all by a plan. See `run.py`.

Locust's process says on standard output how far it is, a line a second, and leaves its figures as
JSON when it ends. It ends early, in the same order, on Ctrl-C and when nobody reads those lines any
more.
"""

import argparse
import atexit
import math
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final

import gevent
import grpc.experimental.gevent as grpc_gevent
import msgspec
from locust import LoadTestShape, events, stats

from serving.cli.locust.plan import read_plan
from serving.cli.locust.results import Failure, Results, Row
from serving.cli.locust.shapes import Stage, stage_at
from serving.cli.locust.users import (
    Asker,
    RawGrpcUser,
    RawHttpUser,
    TritonGrpcUser,
    TritonHttpUser,
)

__all__ = ["RawGrpcUser", "RawHttpUser", "TritonGrpcUser", "TritonHttpUser"]
TOLD_EVERY_S: Final = 1.0
POINT_COUNT: Final = 600
"""Most points of the report's plots: one a second in a short run."""
DIGITS: Final = 3

grpc_gevent.init_gevent()


def three_digits(time_ms: float) -> float:
    """Round a time to three digits: Locust's own rounding knows no part of a millisecond."""
    if time_ms <= 0:
        return 0.0
    return round(time_ms, DIGITS - 1 - math.floor(math.log10(time_ms)))


stats.bucket_response_time = three_digits


class PlannedShape(LoadTestShape):  # type: ignore[misc]  # locust has no types
    """So many users as the plan says."""

    planned: tuple[Stage, ...] = ()

    def tick(self) -> tuple[int, float] | None:
        """Return how many users there are now; None: the load is over."""
        stage = stage_at(self.planned, self.get_run_time())
        return None if stage is None else (stage.user_count, stage.starts_per_s)

    def end(self) -> None:
        """Be over, whatever was planned."""
        self.planned = ()


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]  # locust has no types
def add_options(parser: argparse.ArgumentParser) -> None:
    """Say what is to be done and where the figures go."""
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--figures", type=Path, required=True)


@events.init.add_listener  # type: ignore[untyped-decorator]  # locust has no types
def prepare(environment: Any, **_: object) -> None:  # noqa: ANN401  locust has no types
    """Read the plan."""
    plan = read_plan(environment.parsed_options.plan)
    Asker.plan = plan
    stats.HISTORY_STATS_INTERVAL_SEC = max(1.0, plan.duration_s / POINT_COUNT)
    environment.shape_class.planned = plan.stages()
    # Python's own KeyboardInterrupt would end whichever user is at work, and Locust not at all.
    gevent.signal_handler(signal.SIGINT, environment.shape_class.end)


@events.test_start.add_listener  # type: ignore[untyped-decorator]  # locust has no types
def begin(environment: Any, **_: object) -> None:  # noqa: ANN401  locust has no types
    """Begin to tell."""
    gevent.spawn(_tell, environment)


@events.quitting.add_listener  # type: ignore[untyped-decorator]  # locust has no types
def end(environment: Any, **_: object) -> None:  # noqa: ANN401  locust has no types
    """Leave the figures."""
    figures = msgspec.json.encode(_results(environment))
    environment.parsed_options.figures.write_bytes(figures)
    atexit.register(_leave)


def _leave() -> None:
    """End before the interpreter takes itself apart.

    What tritonclient and grpc do then takes a lock that a gevent which is gone still holds: now and
    then such a process never ended.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _tell(environment: Any) -> None:  # noqa: ANN401  locust has no types
    runner = environment.runner
    while True:
        total = environment.stats.total
        try:
            print(
                f"{runner.user_count:,} users, {total.num_requests:,} requests, "
                f"{total.num_failures:,} failed, {total.current_rps:,.0f} requests/s",
                flush=True,
            )
        except BrokenPipeError:
            environment.shape_class.end()
            return
        gevent.sleep(TOLD_EVERY_S)


def _results(environment: Any) -> Results:  # noqa: ANN401  locust has no types
    found = environment.stats
    return Results(
        rows=tuple(_row(entry) for _, entry in sorted(found.entries.items())),
        failures=tuple(
            Failure(transport=one.method, message=str(one.error), count=one.occurrences)
            for one in sorted(found.errors.values(), key=lambda each: -each.occurrences)
        ),
    )


def _row(entry: Any) -> Row:  # noqa: ANN401  locust has no types
    p50_ms, p95_ms, p99_ms = (  # rounded, but not above what was measured
        min(entry.get_response_time_percentile(share), entry.max_response_time)
        for share in (0.5, 0.95, 0.99)
    )
    return Row(
        transport=entry.method,
        request_count=entry.num_requests,
        failure_count=entry.num_failures,
        requests_per_s=entry.total_rps,
        p50_ms=p50_ms,
        p95_ms=p95_ms,
        p99_ms=p99_ms,
        max_ms=entry.max_response_time,
    )
