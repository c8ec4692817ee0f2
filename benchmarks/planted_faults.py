"""Roll out candidates that have a fault each, under load, and see what the guardrails do.

    python -m benchmarks.planted_faults [--only FAULT …] [--repeats 20] [--output FOLDER]

On one `bascule serve`, for each fault: version 1 of a model is live and right, version 2 has the
fault, six HTTP and two gRPC clients send normal rows and check each answer, and a canary of 20 %
begins. `healthy` is the same model packed again, rolled out back and forth; each time that it is
taken back is a false alarm. A fault counts as caught when the rollout ends as ROLLED_BACK or
FAILED. Exits 1 when one is not caught, when a healthy one is taken back more than once, when a call
fails that the candidate could not get, or when it answers a call that was sent after the end.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.command import run_main
from benchmarks.instance import Instance, InstanceError, running_instance
from benchmarks.planted_load import Answer, load_of, run_load
from benchmarks.planted_models import FAULTS, write_bundles
from benchmarks.report import machine_lines, write
from serving.clock import SystemClock
from serving.local_http import LocalHttp

SHARE_PERCENT: Final = 20
HOLD_S: Final = 60.0
HEALTHY_HOLD_S: Final = 6.0
BAKE_S: Final = 3.0
LIMIT_S: Final = 150.0
LOOK_S: Final = 0.1
BESIDE_S: Final = 1.0
"""Load before and after a rollout."""
ENDED: Final = frozenset({"COMPLETE", "ROLLED_BACK", "FAILED"})
GUARDS: Final[Mapping[str, Mapping[str, object]]] = {
    "drifting": {"output_shift": True, "mismatch_share": -1},
    "breaking": {"mismatch_share": -1},
}
COLUMNS: Final = (
    "candidate",
    "ended as",
    "first traffic to verdict s",
    "last answer after verdict s",
    "calls",
    "by the candidate",
    "wrong",
    "slow",
    "failed",
    "p95 ms (live)",
    "reason",
)
ALLOWED_FALSE: Final = 1
OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """What became of one rollout."""

    fault: str
    state: str
    reason: str
    canary_s: float
    """From the first traffic to the verdict; 0: there was none."""
    late_s: float
    """From the verdict to the last answer that the candidate gave."""
    call_count: int
    candidate_count: int
    """Answered by the candidate."""
    wrong_count: int
    slow_count: int
    """Answered by the candidate, and slower than 99 % of the live version's answers meanwhile."""
    failed_count: int
    failures: Mapping[str, int]
    """What failed calls were told, with how often."""
    other_failures: tuple[str, ...]
    """Of calls that were sent before the candidate had traffic, or after the rollout had ended."""
    candidate_p95_ms: float
    live_p95_ms: float
    answers_after_end: int
    """By the candidate, to calls that were sent after the rollout had ended."""

    @property
    def is_right(self) -> bool:
        """Whether callers and the rollout came out as they should."""
        is_back = self.state in {"ROLLED_BACK", "FAILED"}
        is_kept = self.other_failures == () and self.answers_after_end == 0
        return is_kept and is_back is not (self.fault == "healthy")


async def rolled_out(instance: Instance, fault: str, version: int) -> Planted:
    """Roll a version out under load, and read what became of it."""
    stop = asyncio.Event()
    answers: list[Answer] = []
    socket = str(instance.home / "run" / "admin.sock")
    async with LocalHttp(socket) as admin, asyncio.TaskGroup() as group:
        load = load_of(instance.http, instance.grpc, fault, seed=version)
        group.create_task(run_load(load, stop, answers))
        await asyncio.sleep(BESIDE_S)
        body = _body(fault, version)
        begun = await _asked(admin, "POST", f"/v1/models/{fault}/rollout", body)
        report = await _until_ended(admin, int(begun["id"]))
        await asyncio.sleep(BESIDE_S)
        stop.set()
    return _seen(fault, str(version), report, answers)


def _body(fault: str, version: int) -> dict[str, object]:
    hold_s = HEALTHY_HOLD_S if fault == "healthy" else HOLD_S
    return {
        "version": version,
        "strategy": "canary",
        "steps": [{"share_percent": SHARE_PERCENT, "hold_s": hold_s}],
        "bake_s": BAKE_S,
        "keep_old": fault == "healthy",
        "guardrails": GUARDS.get(fault, {}),
    }


async def _asked(admin: LocalHttp, method: str, path: str, body: object = None) -> Any:
    text = b"" if body is None else json.dumps(body).encode()
    reply = await admin.ask(method, path, text, timeout_s=60)
    if reply.status != OK:
        sys.exit(f"{method} {path}: {reply.status} {reply.body.decode()}")
    return json.loads(reply.body)


async def _until_ended(admin: LocalHttp, number: int) -> Any:
    end_s = time.monotonic() + LIMIT_S
    while True:
        report = await _asked(admin, "GET", f"/v1/rollouts/{number}")
        if report["rollout"]["state"] in ENDED or time.monotonic() > end_s:
            return report
        await asyncio.sleep(LOOK_S)


def _seen(fault: str, version: str, report: Any, entries: Sequence[Answer]) -> Planted:
    rollout = report["rollout"]
    began_s, verdict_s, ended_s = _times_s(report["transitions"])
    own = [one for one in entries if one.version == version]
    others = [one for one in entries if one.version not in {"", version}]
    live = _latencies_s([one for one in others if began_s <= one.sent_s <= ended_s])
    candidates = _latencies_s([one for one in own if one.sent_s <= verdict_s])
    failed = [one for one in entries if one.error and not one.version]
    outside = [one for one in failed if one.answered_s < began_s or one.sent_s > ended_s]
    is_back = rollout["state"] != "COMPLETE"
    last_s = max((one.answered_s for one in own), default=verdict_s)
    return Planted(
        fault=fault,
        state=rollout["state"],
        reason=rollout["note"],
        canary_s=round(verdict_s - began_s, 2) if own else 0.0,
        late_s=round(last_s - verdict_s, 3) if is_back and own else 0.0,
        call_count=len(entries),
        candidate_count=len(own),
        wrong_count=sum(bool(one.error) for one in own),
        slow_count=sum(value > _quantile(live, 0.99) for value in candidates) if live else 0,
        failed_count=len(failed),
        failures=dict(Counter(one.error[:80] for one in failed).most_common(5)),
        other_failures=tuple(one.error for one in outside[:3]),
        candidate_p95_ms=round(_quantile(candidates, 0.95) * 1e3, 2),
        live_p95_ms=round(_quantile(live, 0.95) * 1e3, 2),
        answers_after_end=sum(one.sent_s > ended_s for one in own) if is_back else 0,
    )


def _times_s(transitions: Any) -> tuple[float, float, float]:
    """When the candidate got traffic, when that was decided on, and the end; monotonic clock."""
    to_monotonic_s = time.monotonic() - SystemClock().utc_now().timestamp()
    at_s = {
        one["state"]: datetime.fromisoformat(one["at_utc"]).timestamp() + to_monotonic_s
        for one in reversed(transitions)
    }
    began_s = at_s.get("CANARY", float("inf"))
    verdict_s = at_s.get("ROLLING_BACK", at_s.get("SWITCHED", began_s))
    return began_s, verdict_s, max(at_s.get(state, 0.0) for state in ENDED)


def _latencies_s(entries: Sequence[Answer]) -> list[float]:
    return sorted(one.answered_s - one.sent_s for one in entries)


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def planted(instance: Instance, bundles: Path, fault: str, repeats: int) -> list[Planted]:
    """Push a fault's model and roll it out, the healthy one back and forth."""
    first, second = write_bundles(bundles, fault)
    instance.bascule("push", str(first))
    second_pushed = _pushed(instance, second)
    if not second_pushed:
        print(f"{fault}: its push says that it does not load", flush=True)
    found = []
    for turn in range(repeats if fault == "healthy" else 1):
        one = asyncio.run(rolled_out(instance, fault, 2 - turn % 2))
        print(f"{fault}: {one.state} after {one.canary_s} s: {one.reason}", flush=True)
        found.append(one)
    return found


def _pushed(instance: Instance, bundle: Path) -> bool:
    """Push a candidate into the registry without waiting for it: the rollout loads it."""
    try:
        instance.bascule("push", str(bundle))
    except InstanceError:
        return False
    return True


def page(outcomes: Sequence[Planted]) -> str:
    """Return the tables."""
    lines = ["# Planted faults", "", *machine_lines(), ""]
    lines += [
        f"| {' | '.join(COLUMNS)} |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---|---|",
    ]
    lines += [_line(one) for one in outcomes if one.fault != "healthy"]
    healthy = [one for one in outcomes if one.fault == "healthy"]
    if healthy:
        back = [one for one in healthy if one.state != "COMPLETE"]
        failed = sum(one.failed_count + one.wrong_count for one in healthy)
        candidate_ms = median(one.candidate_p95_ms for one in healthy)
        live_ms = median(one.live_p95_ms for one in healthy)
        text = (
            f"Healthy: {len(healthy)} rollouts of the same model, {len(back)} taken back, {failed} "
            f"of {sum(one.call_count for one in healthy):,} calls failed or wrong; p95 of the "
            f"candidate {candidate_ms:.2f} ms, live {live_ms:.2f} ms (medians)."
        )
        lines += ["", text]
        lines += [f"* {one.state}: {one.reason}" for one in back]
    return "\n".join(lines) + "\n"


def _line(one: Planted) -> str:
    cells = (
        one.fault,
        f"{one.state}{'' if one.is_right else ' **NOT AS IT SHOULD**'}",
        f"{one.canary_s:.1f}",
        f"{one.late_s:.2f}",
        f"{one.call_count:,}",
        f"{one.candidate_count:,}",
        f"{one.wrong_count:,}",
        f"{one.slow_count:,}",
        f"{one.failed_count:,}",
        f"{one.candidate_p95_ms:.2f} ({one.live_p95_ms:.2f})",
        one.reason.replace("|", "\\|"),
    )
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Roll out each candidate."""
    parser = argparse.ArgumentParser(description="roll out candidates that have a fault")
    parser.add_argument("--only", nargs="*", choices=FAULTS, default=FAULTS)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    outcomes: list[Planted] = []
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        repository = Path(folder) / "none"
        repository.mkdir()
        with running_instance(repository, shared_model_bytes="0") as instance:
            for fault in options.only:
                outcomes += planted(instance, Path(folder), fault, options.repeats)
    text = page(outcomes)
    if options.output:
        write(options.output, "planted_faults", text, [asdict(one) for one in outcomes])
    else:
        print(text)
    false_alarms = sum(one.fault == "healthy" and not one.is_right for one in outcomes)
    is_right = all(one.is_right for one in outcomes if one.fault != "healthy")
    return 0 if is_right and false_alarms <= ALLOWED_FALSE else 1


if __name__ == "__main__":
    run_main(main)
