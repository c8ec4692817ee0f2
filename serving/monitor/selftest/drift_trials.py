"""Tries the monitor of drift of one version: every column, and rows that are as they were. Pure.

What decides is what decides on real rows (`serving.monitor.drift.watched`), from the workers'
reports on; it is another one, so nothing of it is seen in what is said of real rows.
"""

from collections.abc import Iterator
from typing import Final

from serving.monitor.drift.alarm_book import AlarmBook
from serving.monitor.drift.block_sums import BLOCK_ROWS, BlockSums
from serving.monitor.drift.columns import Role
from serving.monitor.drift.number_codec import NumberReference
from serving.monitor.drift.profile import Profile
from serving.monitor.drift.stream import DriftReport, RunningTotal
from serving.monitor.drift.view import DriftAlarm
from serving.monitor.drift.watched import WatchedVersion
from serving.monitor.selftest.made_up_rows import (
    CHANGED_SHARE,
    SHIFT_SDS,
    UNSEEN,
    Change,
    MadeUpRows,
    shares_of,
    shifted,
    with_level,
    with_missing,
)
from serving.monitor.selftest.trial import DRIFT, Outcome, Trial

LIMIT_ROWS: Final = 4_096
"""Within so many rows a change has to be noticed."""
NULL_STREAMS: Final = 3
"""One of them may alarm by chance, as the calibration says; two do not."""
AT_ONCE: Final = 16
"""Blocks that are reported together."""


def drift_trials(profile: Profile, subject: str, now_s: float = 0.0) -> Iterator[Trial]:
    """Try all columns.

    Args:
        profile: The version's reference.
        subject: What alarms are about.
        now_s: When the first row comes, in seconds since 1970.
    """

    def tried(place: int, change: Change, injected: str) -> Trial:
        name = profile.columns[place].name
        rows = MadeUpRows(profile, place).changed(place, change, LIMIT_ROWS // BLOCK_ROWS)
        news = _alarms(profile, subject, rows, now_s)
        found = next((one for one in news if one.feature == name), None)
        return _trial(profile, name, injected, found)

    yield _null_trial(profile, subject, now_s)
    for place, column in enumerate(profile.columns):
        before = shares_of(profile, place)
        if isinstance(column, NumberReference):
            moved = f"moved by {SHIFT_SDS:g} standard deviation"
            yield tried(place, shifted(column), moved)
        elif before.unseen <= 1 - CHANGED_SHARE:
            unseen = f"a level that nobody has seen in {_more(before.unseen)} of the rows"
            yield tried(place, with_level(UNSEEN, before.unseen), unseen)
        else:
            same = f"the same level in {CHANGED_SHARE:.0%} of the rows"
            yield tried(place, with_level(column.levels[0], 0.0), same)
        if column.role is Role.INPUT:
            missing = f"missing in {_more(before.missing)} of the rows"
            is_bare = before.missing == 1
            yield (
                _skipped(column.name, missing)
                if is_bare
                else tried(place, with_missing(before.missing), missing)
            )


def _more(before: float) -> str:
    return f"{CHANGED_SHARE:.0%}{' more' if before else ''}"


def _null_trial(profile: Profile, subject: str, now_s: float) -> Trial:
    injected = f"{NULL_STREAMS} times {LIMIT_ROWS:,} rows as in the reference"
    rung = []
    for seed in range(NULL_STREAMS):
        rows = MadeUpRows(profile, seed).normal(LIMIT_ROWS // BLOCK_ROWS)
        rung += _alarms(profile, subject, rows, now_s)[:1]
    if len(rung) > 1:
        outcome, told = Outcome.FALSE, rung[0].text
    else:
        outcome, told = Outcome.QUIET, "nothing rang that should not"
    return Trial(kind=DRIFT, alarm="no drift", injected=injected, outcome=outcome, told=told)


def _skipped(name: str, injected: str) -> Trial:
    told = "every value of the reference is missing: no more can be"
    return Trial(kind=DRIFT, alarm=name, injected=injected, outcome=Outcome.SKIPPED, told=told)


def _trial(profile: Profile, name: str, injected: str, found: DriftAlarm | None) -> Trial:
    if found is None:
        return Trial(
            kind=DRIFT,
            alarm=name,
            injected=injected,
            outcome=Outcome.SILENT,
            told=(
                f"not noticed within {LIMIT_ROWS:,} rows: the reference has "
                f"{profile.baseline.rows:,} rows and the threshold is "
                f"{profile.calibration.threshold:.3g}; learn it anew from more rows"
            ),
        )
    return Trial(
        kind=DRIFT,
        alarm=name,
        injected=injected,
        outcome=Outcome.RANG,
        told=f"after {found.last_row:,} rows, {found.severity}",
        data={"alarm": found.id, "severity": found.severity, "feature": name, "text": found.text},
    )


def _alarms(
    profile: Profile, subject: str, rows: Iterator[BlockSums], now_s: float
) -> list[DriftAlarm]:
    """Let a monitor of its own watch rows up to the first alarms."""
    watched = WatchedVersion(profile, AlarmBook(subject))
    total = RunningTotal("self-test")
    known = 0
    for number, block in enumerate(rows, start=1):
        total.add(block, now_s + number)
        if number % AT_ONCE:
            continue
        report = DriftReport(
            model="",
            version=0,
            digest=profile.digest,
            epoch=total.epoch,
            records=total.after(known),
        )
        known = number
        news = watched.take([report], now_s + number)
        if news:
            return news
    return []
