"""How often and how late drift detectors alarm: Bascule, textbook rules, river, Evidently.

python -m benchmarks.drift [--quick] [--jobs 2] [--out FOLDER] [--peers FOLDER] [--skip-peers]
    [--report]

Streams, changes and protocol: `streams.py`. Other tools are installed into an environment of their
own (`--peers`, made if it is not there) and run with their defaults on the same streams. A delay
is counted in rows from the change to the first alarm; streams with an alarm before it have none.
All seeds are fixed, and verdicts are kept in the folder: a run that was ended goes on, and
`--report` writes what there is. `Bascule` learns from 5,000 rows in the order of time, as from a
log; `Bascule, independent rows assumed` does not know their order. In correlated traffic, `oracle`
is Bascule's statistic as for independent rows, with the threshold at which one in five clean
correlated streams alarms: nobody has such streams in advance, so it is the yardstick for delays
there.

What was recorded last: `benchmarks/results/drift.md`. A delay of a rule that alarms without cause
in most streams says little.
"""

import argparse
import json
import platform
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.drift import peers, results
from benchmarks.drift.kept import judged, read
from benchmarks.drift.ours import scores_of, watch
from benchmarks.drift.real import TABLES, judge_real
from benchmarks.drift.streams import CHANGES, changed_stream, clean_stream

OURS: Final = "Bascule"
ASSUMED: Final = "Bascule, independent rows assumed"
ORACLE: Final = "oracle"
CARRY: Final = 0.9
ORACLE_RATE: Final = 0.2
CORRELATED_CHANGES: Final = ("mean 0.5 sd", "mean 1 sd", "scale 1.5", "correlation")
Task = tuple[str, str, int, float, int]


def judge(task: Task) -> dict[str, Any]:
    """Let a rule of ours watch a stream."""
    rule, scenario, seed, carry, replicates = task
    stream = (
        clean_stream(seed, carry) if scenario == "clean" else changed_stream(scenario, seed, carry)
    )
    facts = {"rule": rule, "scenario": scenario, "carry": carry, "change_row": stream.change_row}
    if rule == ORACLE:
        return {**facts, "scores": scores_of(stream, replicates)}
    found = watch(stream, is_ordered=rule == OURS, replicates=replicates)
    delay_rows = found.alarm_row - stream.change_row if found.alarm_row > 0 else -1
    return {**facts, **asdict(found), "delay_rows": delay_rows}


def tasks(options: argparse.Namespace) -> Iterator[Task]:
    """List what is judged, by us."""
    clean, changed = options.clean, options.changed
    yield from ((OURS, "clean", seed, 0.0, options.replicates) for seed in range(clean))
    for name in CHANGES:
        yield from ((OURS, name, seed, 0.0, options.replicates) for seed in range(changed))
    for rule in (OURS, ASSUMED, ORACLE):
        few = options.replicates if rule == OURS else options.replicates // 2
        yield from ((rule, "clean", seed, CARRY, few) for seed in range(options.correlated))
        for name in CORRELATED_CHANGES if rule != ASSUMED else ():
            part = range(max(options.changed // 2, 2))
            yield from ((rule, name, seed, CARRY, few) for seed in part)


def with_oracle(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turn the oracle's scores into alarms at the threshold that clean streams give."""
    highest = [
        max(score for _, score in one["scores"])
        for one in found
        if one["rule"] == ORACLE and one["scenario"] == "clean"
    ]
    threshold = float(np.quantile(highest, 1 - ORACLE_RATE)) if highest else np.inf
    return [_alarmed(one, threshold) if one["rule"] == ORACLE else one for one in found]


def _alarmed(one: dict[str, Any], threshold: float) -> dict[str, Any]:
    rows = [row for row, score in one["scores"] if score > threshold]
    late = [row for row in rows if row > one["change_row"]]
    is_early = bool(rows) and rows[0] <= one["change_row"]
    return {
        "rule": ORACLE,
        "scenario": one["scenario"],
        "carry": one["carry"],
        "is_early": is_early,
        "is_right": False,
        "delay_rows": late[0] - one["change_row"] if late and not is_early else -1,
        "cpu_us_per_row": 0.0,
    }


def report(found: list[dict[str, Any]], real: list[dict[str, Any]], title: str) -> str:
    """Write the whole report, in Markdown."""
    listed = [one for one in found if one["rule"] != ORACLE]
    mine = [one for one in found if one["rule"] == OURS]
    named = results.right_share([one for one in mine if not one["carry"]], OURS)
    learnt_s = sorted(one["calibration_s"] for one in mine if not one["carry"])
    parts = [f"# Drift: false alarms and delays\n\n{title}", results.main_table(listed)]
    parts.append(
        f"Named the right column first: {named:.1%} of the changes found. "
        f"Learning 5,000 rows of 9 columns: {learnt_s[len(learnt_s) // 2]:.1f} s of CPU."
    )
    parts.append("## Correlated traffic, AR(0.9)\n\n" + results.correlated_table(found))
    if real:
        parts.append("## Real tables\n\n" + results.real_table(real))
    return "\n\n".join(parts) + "\n"


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift")
    parser.add_argument("--quick", action="store_true", help="few streams: minutes, not an hour")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--clean", type=int, default=100, help="clean streams")
    parser.add_argument("--changed", type=int, default=20, help="streams of each change")
    parser.add_argument("--correlated", type=int, default=30, help="clean correlated streams")
    parser.add_argument("--peer-share", type=float, default=0.4, help="of the streams for others")
    parser.add_argument("--replicates", type=int, default=200, help="worlds of a calibration")
    parser.add_argument("--out", type=Path, default=Path("benchmark-drift"))
    parser.add_argument("--peers", type=Path, default=Path("benchmark-drift/peers"))
    parser.add_argument("--report", action="store_true", help="only of what was judged before")
    parser.add_argument("--skip-peers", action="store_true", help="Bascule alone, no real data")
    options = parser.parse_args()
    if options.quick:
        options.clean, options.changed, options.correlated, options.replicates = 10, 4, 5, 80
    options.out.mkdir(parents=True, exist_ok=True)
    found, real = (kept_before if options.report else measure)(options)
    title = (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {options.jobs} processes, "
        f"{options.clean} clean streams, {options.changed} of each change, {options.correlated} "
        f"clean correlated ones, a share of {options.peer_share:g} of them for others. Cells: "
        "median rows from the change to the alarm (share of streams in which it was found)."
    )
    text = report(found, real, title)
    (options.out / "drift.md").write_text(text)
    (options.out / "drift.json").write_text(json.dumps({"streams": found, "real": real}, indent=1))
    print(text)
    return 0


def kept_before(options: argparse.Namespace) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the verdicts that earlier runs have left."""
    ours, others, real = (
        list(read(options.out / f"{name}.jsonl").values()) for name in ("ours", "peers", "real")
    )
    return [*with_oracle(ours), *others], real


def measure(options: argparse.Namespace) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Run everything; return verdicts on streams and on real tables."""
    folder = options.out.absolute()
    with ProcessPoolExecutor(options.jobs) as pool:
        found = with_oracle(judged(pool, judge, tasks(options), folder / "ours.jsonl"))
        if options.skip_peers:
            return found, []
        python = peers.peers_python(options.peers.absolute())
        if peers.start(python, "public_data", str(folder)).wait():
            raise SystemExit("the real tables could not be written")
        splits = range(3 if options.quick else 10)
        few = max(options.replicates // 2, 40)
        wanted = [(str(folder / f"{name}.npz"), s, few) for name in TABLES for s in splits]
        real = judged(pool, judge_real, wanted, folder / "real.jsonl")
    counts = {n: getattr(options, n) for n in ("clean", "changed", "correlated")}
    few = {name: max(round(count * options.peer_share), 2) for name, count in counts.items()}
    numbers = {**few, "jobs": options.jobs}
    asked = [part for name, value in numbers.items() for part in (f"--{name}", str(value))]
    file = folder / "peers.jsonl"
    if peers.start(python, "peer_rules", *asked, "--out", str(file)).wait():
        raise SystemExit("the other tools' process ended with an error")
    return [*found, *read(file).values()], real


if __name__ == "__main__":
    raise SystemExit(main())
