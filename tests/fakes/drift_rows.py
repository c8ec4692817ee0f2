"""Small references and streams for the monitor of drift, from seeds."""

import numpy as np

from serving.monitor.drift.block_sums import BlockSums
from serving.monitor.drift.calibration import FalseAlarms
from serving.monitor.drift.columns import Column, FloatArray, LevelColumn, NumberColumn
from serving.monitor.drift.detector import Alarm, Detector
from serving.monitor.drift.learning import learn_profile
from serving.monitor.drift.profile import Profile

FEW = FalseAlarms(replicates=40, horizon_rows=5_000)
LEVELS = (b"red", b"green", b"blue")


def drawn_columns(seed: int, rows: int) -> list[Column]:
    """Two numbers that correlate (0.6), an independent one, and a category."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((3, rows))
    levels = rng.choice(len(LEVELS), size=rows, p=(0.6, 0.3, 0.1))
    return [
        NumberColumn(name="a", values=scores[0]),
        NumberColumn(name="b", values=0.6 * scores[0] + 0.8 * scores[1]),
        NumberColumn(name="c", values=np.exp(scores[2])),
        LevelColumn(name="colour", values=[LEVELS[level] for level in levels]),
    ]


def with_numbers(columns: list[Column], name: str, values: FloatArray) -> list[Column]:
    """Replace the values of a column of numbers."""
    return [
        NumberColumn(name=name, values=values) if column.name == name else column
        for column in columns
    ]


def with_levels(columns: list[Column], values: list[bytes]) -> list[Column]:
    """Replace the values of the category."""
    return [
        LevelColumn(name=column.name, values=values) if column.name == "colour" else column
        for column in columns
    ]


def numbers_of(columns: list[Column], name: str) -> FloatArray:
    """Return a copy of a column's values."""
    return next(
        column.values.copy()
        for column in columns
        if isinstance(column, NumberColumn) and column.name == name
    )


def learnt(rows: int = 2_000, seed: int = 1, *, is_ordered: bool = True) -> Profile:
    """Learn a reference of some rows."""
    return learn_profile(drawn_columns(seed, rows), is_ordered=is_ordered, allowed=FEW)


def blocks_of(profile: Profile, columns: list[Column]) -> list[BlockSums]:
    """Encode rows and add them up by 64."""
    encoder = profile.encoder
    return encoder.blocks(encoder.encode(columns), profile.digest)


def alarms_of(profile: Profile, columns: list[Column]) -> list[Alarm]:
    """Watch rows from the beginning."""
    return Detector(profile).push(blocks_of(profile, columns))
