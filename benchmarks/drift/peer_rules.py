"""What others do, on the same streams: textbook rules, river, Evidently. Runs in their environment.

python -m benchmarks.drift.peer_rules --clean 100 --changed 20 --jobs 2 --out FILE

Window rules look at each 500 rows. `psi` and `ks` are as textbooks have them: the population
stability index over ten deciles of the reference (0.2 is drift), and Kolmogorov-Smirnov or
chi-squared tests at 5 %, divided by the number of columns. `evidently any` is one drifting column
of Evidently's defaults, `evidently half` its default for a table. River's detectors watch every
column's standardised values, and a flag for each level, with their defaults. No rule but Evidently
sees missing values; they are left out, as the libraries do.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
from river import drift
from scipy import stats

from benchmarks.drift.kept import judged
from benchmarks.drift.streams import (
    CATEGORY,
    CHANGES,
    LEVELS,
    NUMBERS,
    Stream,
    Table,
    changed_stream,
    clean_stream,
)

WINDOW_ROWS: Final = 500
PSI_LIMIT: Final = 0.2
ALPHA: Final = 0.05
DECILES: Final = 10
FEW_ROWS: Final = 2_500
"""Evidently is asked about so many rows after a change."""
SLOW_PART: Final = 10
"""The slow rules get a tenth of the streams."""
Alarms = Iterator[int]
SLOW: Final = frozenset({"evidently any", "evidently half", "river KSWIN"})


def windows(stream: Stream) -> Iterator[tuple[int, Table]]:
    """Cut the rows into windows: the row at which each ends, and its rows."""
    for begin in range(0, len(stream.rows) - WINDOW_ROWS + 1, WINDOW_ROWS):
        yield begin + WINDOW_ROWS, stream.rows.part(begin, begin + WINDOW_ROWS)


def psi_alarms(stream: Stream) -> Alarms:
    """Alarm where an index is above 0.2."""
    numbers = stream.reference.numbers
    cuts = [np.quantile(one, np.linspace(0, 1, DECILES + 1)[1:-1]) for one in numbers.T]

    def shares(table: Table) -> list[Any]:
        found = [
            np.bincount(cut.searchsorted(one[~np.isnan(one)]), minlength=DECILES)
            for cut, one in zip(cuts, table.numbers.T, strict=True)
        ]
        found.append(np.bincount(table.levels, minlength=len(LEVELS)))
        return [np.maximum(counts / counts.sum(), 1e-4) for counts in found]

    expected = shares(stream.reference)
    for end, table in windows(stream):
        pairs = zip(shares(table), expected, strict=True)
        if max(float(((a - b) * np.log(a / b)).sum()) for a, b in pairs) > PSI_LIMIT:
            yield end


def ks_alarms(stream: Stream) -> Alarms:
    """Alarm where a test's p is below 5 % over the number of columns."""
    reference = stream.reference
    known = np.bincount(reference.levels, minlength=len(LEVELS))
    for end, table in windows(stream):
        values = [
            stats.ks_2samp(old, new[~np.isnan(new)], method="asymp").pvalue
            for old, new in zip(reference.numbers.T, table.numbers.T, strict=True)
        ]
        counts = np.bincount(table.levels, minlength=len(LEVELS))
        values.append(stats.chi2_contingency(np.stack((known, counts))).pvalue)
        if min(values) < ALPHA / len(values):
            yield end


def evidently_alarms(share: float) -> Callable[[Stream], Alarms]:
    """Alarm where Evidently's default tests call this share of the columns drifted."""
    definition = DataDefinition(numerical_columns=list(NUMBERS), categorical_columns=[CATEGORY])

    def frame(table: Table) -> Any:
        found = pd.DataFrame(table.numbers, columns=list(NUMBERS))
        found[CATEGORY] = np.array(LEVELS)[table.levels]
        return Dataset.from_pandas(found, data_definition=definition)

    def alarms(stream: Stream) -> Alarms:
        report = Report([DataDriftPreset()])
        reference = frame(stream.reference)
        for end, table in windows(stream):
            if stream.changed and not 0 < end - stream.change_row <= FEW_ROWS:
                continue  # a second a window is too slow for all of them
            metrics = report.run(frame(table), reference).dict()["metrics"]
            if metrics[0]["value"]["share"] >= share:
                yield end

    return alarms


def river_alarms(make: Callable[[], Any]) -> Callable[[Stream], Alarms]:
    """Alarm where any of the detectors does; each column's begins anew then."""

    def alarms(stream: Stream) -> Alarms:
        numbers = stream.reference.numbers
        means, sds = numbers.mean(axis=0), numbers.std(axis=0)
        flags = np.eye(len(LEVELS))[stream.rows.levels]
        rows = np.hstack(((stream.rows.numbers - means) / sds, flags)).tolist()
        detectors = [make() for _ in rows[0]]
        for place, row in enumerate(rows):
            for detector, value in zip(detectors, row, strict=True):
                if value == value:  # noqa: PLR0124  not missing
                    detector.update(value)
            if any(detector.drift_detected for detector in detectors):
                yield place + 1

    return alarms


RULES: Final[dict[str, Callable[[Stream], Alarms]]] = {
    "PSI 0.2": psi_alarms,
    "KS, chi2 + Bonferroni": ks_alarms,
    "river ADWIN": river_alarms(drift.ADWIN),
    "river Page-Hinkley": river_alarms(drift.PageHinkley),
    "river KSWIN": river_alarms(lambda: drift.KSWIN(seed=1)),
    "evidently any": evidently_alarms(1 / 9),
    "evidently half": evidently_alarms(0.5),
}


def judge(task: tuple[str, str, int, float]) -> dict[str, Any]:
    """Let a rule watch a stream until its first alarm after the change."""
    rule, scenario, seed, carry = task
    warnings.simplefilter("ignore")
    is_clean = scenario == "clean"
    stream = clean_stream(seed, carry) if is_clean else changed_stream(scenario, seed, carry)
    began_s = time.process_time()
    is_early, alarm_row = False, -1
    for row in RULES[rule](stream):
        if row > stream.change_row:
            alarm_row = row
            break
        is_early = True
        if is_clean:
            break
    seen = alarm_row if alarm_row > 0 else len(stream.rows)
    return {
        "rule": rule,
        "scenario": scenario,
        "carry": carry,
        "is_early": is_early,
        "delay_rows": alarm_row - stream.change_row if alarm_row > 0 else -1,
        "cpu_us_per_row": (time.process_time() - began_s) / seen * 1e6,
    }


def tasks(clean: int, changed: int, correlated: int) -> Iterator[tuple[str, str, int, float]]:
    """List what is judged; slow rules get a few of the streams."""
    for rule in RULES:
        part = SLOW_PART if rule in SLOW else 1
        yield from ((rule, "clean", seed, 0.0) for seed in range(max(clean // part, 1)))
        for name in CHANGES:
            yield from ((rule, name, seed, 0.0) for seed in range(max(changed // part, 2)))
        yield from ((rule, "clean", seed, 0.9) for seed in range(max(correlated // part, 1)))


def main() -> None:
    """Judge everything; write a JSON list."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drift.peer_rules")
    parser.add_argument("--clean", type=int, default=100)
    parser.add_argument("--changed", type=int, default=20)
    parser.add_argument("--correlated", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.jobs) as pool:
        wanted = tasks(options.clean, options.changed, options.correlated)
        judged(pool, judge, wanted, options.out)


if __name__ == "__main__":
    main()
