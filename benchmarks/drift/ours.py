"""Bascule's monitor of drift on the benchmark's streams."""

import time
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from benchmarks.drift.streams import CATEGORY, LEVELS, NUMBERS, Stream, Table
from serving.monitor.drift.calibration import FalseAlarms
from serving.monitor.drift.columns import Column, LevelColumn, NumberColumn
from serving.monitor.drift.detector import Detector
from serving.monitor.drift.learning import learn_profile
from serving.monitor.drift.profile import Profile

DRAIN_ROWS: Final = 256
"""So many rows come at once, as from a worker's ring."""
_LEVELS: Final = tuple(level.encode() for level in LEVELS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a detector said of a stream."""

    alarm_row: int
    """Rows seen at the first alarm after the change; -1 if there was none."""
    is_early: bool
    """It alarmed before the change."""
    is_right: bool
    """It named the changed column first."""
    cpu_us_per_row: float
    calibration_s: float = 0.0
    autocorrelation_time: float = 1.0
    highest_score: float = 0.0


def watch(stream: Stream, *, is_ordered: bool, replicates: int) -> Found:
    """Learn the reference and watch the rows until the first alarm after the change."""
    began_s = time.process_time()
    profile = learn_profile(
        columns_of(stream.reference),
        is_ordered=is_ordered,
        allowed=FalseAlarms(replicates=replicates),
    )
    learnt_s = time.process_time()
    found = watch_by(profile, stream)
    return replace(
        found,
        calibration_s=learnt_s - began_s,
        autocorrelation_time=profile.autocorrelation_time,
    )


def watch_by(profile: Profile, stream: Stream) -> Found:
    """Watch rows by a profile until the first alarm after the change."""
    detector, encoder = Detector(profile), profile.encoder
    is_early = False
    used_s = 0.0
    for begin in range(0, len(stream.rows), DRAIN_ROWS):
        columns = columns_of(stream.rows.part(begin, begin + DRAIN_ROWS))
        began_s = time.process_time()
        alarms = detector.push(encoder.blocks(encoder.encode(columns), profile.digest))
        used_s += time.process_time() - began_s
        is_early |= any(alarm.at_row <= stream.change_row for alarm in alarms)
        late = [alarm for alarm in alarms if alarm.at_row > stream.change_row]
        if late and not is_early:
            return Found(
                alarm_row=late[0].at_row,
                is_early=False,
                is_right=stream.changed in encoder.components[late[0].component].features,
                cpu_us_per_row=used_s / (begin + len(columns[0].values)) * 1e6,
            )
    return Found(
        alarm_row=-1,
        is_early=is_early,
        is_right=False,
        cpu_us_per_row=used_s / len(stream.rows) * 1e6,
    )


def scores_of(stream: Stream, replicates: int) -> list[tuple[int, float]]:
    """Return the scores, not alarms, of a monitor that takes rows for independent."""
    learnt = learn_profile(
        columns_of(stream.reference),
        is_ordered=False,
        allowed=FalseAlarms(replicates=replicates),
    )
    profile = replace(learnt, calibration=replace(learnt.calibration, threshold=np.inf))
    detector, encoder = Detector(profile), profile.encoder
    scores = []
    for begin in range(0, len(stream.rows), DRAIN_ROWS):
        columns = columns_of(stream.rows.part(begin, begin + DRAIN_ROWS))
        detector.push(encoder.blocks(encoder.encode(columns), profile.digest))
        scores.append((detector.rows, float(detector.component_scores.max())))
    return scores


def columns_of(table: Table) -> list[Column]:
    """Return a table as the monitor wants it."""
    numbers: list[Column] = [
        NumberColumn(name=name, values=np.ascontiguousarray(table.numbers[:, place]))
        for place, name in enumerate(NUMBERS)
    ]
    levels = [_LEVELS[level] for level in table.levels.tolist()]
    return [*numbers, LevelColumn(name=CATEGORY, values=levels)]
