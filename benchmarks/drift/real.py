"""Real tables: does the monitor stay silent on held-out rows, and find another mix of classes?

Half of a table, drawn at random, is the reference; the other half is watched twice, in random
order: as it is, and with the rows of the upper half of the classes only.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.drift.ours import DRAIN_ROWS
from benchmarks.drift.streams import FloatArray
from serving.monitor.drift.calibration import FalseAlarms
from serving.monitor.drift.columns import Column, NumberColumn
from serving.monitor.drift.detector import Detector
from serving.monitor.drift.learning import learn_profile
from serving.monitor.drift.profile import Profile

TABLES: Final = ("digits", "breast_cancer", "image_segments")


def judge_real(task: tuple[str, int, int]) -> dict[str, Any]:
    """Split a table by a seed; watch the rows that were held out."""
    name, seed, replicates = task
    file = Path(name)
    with np.load(file) as found:
        rows, classes = found["rows"], found["classes"]
    order = np.random.default_rng(seed).permutation(len(rows))
    learnt, held_out = order[: len(rows) // 2], order[len(rows) // 2 :]
    profile = learn_profile(
        columns_of(rows[learnt]), is_ordered=True, allowed=FalseAlarms(replicates=replicates)
    )
    other = held_out[classes[held_out] > classes.max() / 2]
    return {
        "table": file.stem,
        "columns": rows.shape[1],
        "reference_rows": len(learnt),
        "held_out_rows": len(held_out),
        "false_alarms": len(list(alarm_rows(profile, rows[held_out]))),
        "other_mix_row": next(alarm_rows(profile, rows[other]), -1),
    }


def alarm_rows(profile: Profile, rows: FloatArray) -> Iterator[int]:
    """Return the rows at which a monitor alarms."""
    detector, encoder = Detector(profile), profile.encoder
    for begin in range(0, len(rows), DRAIN_ROWS):
        encoded = encoder.encode(columns_of(rows[begin : begin + DRAIN_ROWS]))
        for alarm in detector.push(encoder.blocks(encoded, profile.digest)):
            yield alarm.at_row


def columns_of(rows: FloatArray) -> list[Column]:
    """Return a table as the monitor wants it."""
    return [
        NumberColumn(name=f"column{place}", values=np.ascontiguousarray(column))
        for place, column in enumerate(rows.T)
    ]
