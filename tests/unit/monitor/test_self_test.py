"""The self-test: every alarm rings, and one that was broken is found."""

from dataclasses import replace

import numpy as np
import pytest

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.preflight.subject import AgeLimits
from serving.ids import VersionKey
from serving.monitor.alarms.service_signs import Promise
from serving.monitor.drift.calibration import Calibration
from serving.monitor.drift.columns import Column, LevelColumn, NumberColumn
from serving.monitor.drift.detector import Detector
from serving.monitor.drift.learning import learn_profile
from serving.monitor.drift.profile import Profile
from serving.monitor.quality.watch import Watch
from serving.monitor.selftest.contract_trials import Tensors, contract_trials
from serving.monitor.selftest.drift_trials import drift_trials
from serving.monitor.selftest.made_up_rows import MadeUpRows
from serving.monitor.selftest.service_trials import service_trials, silence_trial
from serving.monitor.selftest.trial import DRIFT, Outcome, Trial
from serving.monitor.selftest.version_trials import Tried, version_trials
from serving.registry.contracts.contract_file import parse_contract
from serving.registry.contracts.data_contract import (
    Check,
    DataContract,
    EventTime,
    Rule,
    Watched,
    WindowPolicy,
)
from tests.fakes.cluster import version_spec
from tests.fakes.drift_rows import FEW, learnt

PROFILE = learnt(3_000)
PROMISE = Promise(availability=0.999, threshold_s=0.25, fast_share=0.99)
DAY_S = 86_400.0
TENSORS = Tensors(
    inputs=(
        TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 4)),
        TensorSpec(name="word", datatype=Datatype.BYTES, shape=(-1, 1)),
        TensorSpec(name="small", datatype=Datatype.UINT8, shape=(-1, 2)),
    ),
    outputs=(TensorSpec(name="y", datatype=Datatype.FP32, shape=(-1, 3)),),
    is_batched=True,
)


def rule(check: Check, limit: float = 0, **more: object) -> Rule:
    """A rule of this name."""
    return Rule(id=f"{check.value}", check=check, limit=limit, **more)  # type: ignore[arg-type]


CONTRACT = DataContract(
    inputs=(
        Watched(
            name="x",
            tensor="x",
            column=2,
            max_null_rate=0.02,
            rules=(
                rule(Check.MIN, -3),
                rule(Check.MAX, 3),
                rule(Check.FINITE),
                rule(Check.NULL),
                rule(Check.ABSENT),
            ),
        ),
        Watched(
            name="word",
            tensor="word",
            null_tokens=("none",),
            rules=(
                replace(rule(Check.ALLOWED, allowed=("a", "b")), id="word.allowed"),
                replace(rule(Check.MAX_LEN, 3), id="word.max_len"),
                replace(rule(Check.MIN_LEN, 1), id="word.min_len"),
                replace(rule(Check.UTF8), id="word.utf8"),
                replace(rule(Check.NULL), id="word.null"),
            ),
        ),
        Watched(
            name="small",
            tensor="small",
            rules=(
                replace(rule(Check.ALLOWED, allowed=(0, 1, 2)), id="small.allowed"),
                replace(rule(Check.NOT_CONSTANT), id="small.not_constant"),
            ),
        ),
    ),
    outputs=(
        Watched(
            name="y",
            tensor="y",
            rules=(
                replace(rule(Check.SUM_TO, 1, tolerance=0.01), id="y.sum_to"),
                replace(rule(Check.MAX, 1), id="y.max"),
            ),
        ),
    ),
    event_time=EventTime(
        parameter="event_time",
        rules=(
            replace(rule(Check.MAX_LAG, 600), id="event_time.max_lag"),
            replace(rule(Check.MAX_FUTURE, 60), id="event_time.max_future"),
            replace(rule(Check.FORMAT), id="event_time.format"),
            replace(rule(Check.ABSENT), id="event_time.absent"),
        ),
    ),
    window=WindowPolicy(min_rows=500, max_violation_rate=0.05),
    reference_until_s=1.6e9,
    age_limits=AgeLimits(warn_s=90 * DAY_S),
)


def outcomes(trials: list[Trial]) -> dict[str, Outcome]:
    """What came of each alarm."""
    return {f"{one.alarm}: {one.injected}": one.outcome for one in trials}


def test_every_column_of_a_healthy_monitor_rings_and_normal_rows_do_not() -> None:
    """Moved, unseen and missing values ring by the column's name."""
    found = list(drift_trials(PROFILE, "m v1"))
    assert [one.alarm for one in found] == [
        "no drift",
        *("a", "a", "b", "b", "c", "c"),
        *("colour",) * 2,
    ]
    assert {one.outcome for one in found[1:]} == {Outcome.RANG}, outcomes(found)
    assert found[0].outcome is Outcome.QUIET


def test_the_same_reference_gives_the_same_trials() -> None:
    """A self-test that fails can be looked at again."""
    assert list(drift_trials(PROFILE, "m")) == list(drift_trials(PROFILE, "m"))


def odd_columns(rows: int = 2_000) -> dict[str, Column]:
    """Columns that lack many values, and levels that are rare, or all different."""
    rng = np.random.default_rng(3)
    numbers, chance = rng.standard_normal(rows), rng.random(rows)
    skewed = rng.choice(3, rows, p=(0.9, 0.09, 0.01)).tolist()
    return {
        "a tenth missing": NumberColumn(name="a", values=np.where(chance < 0.1, np.nan, numbers)),
        "most missing": NumberColumn(name="a", values=np.where(chance < 0.95, np.nan, numbers)),
        "all missing": NumberColumn(name="a", values=np.full(rows, np.nan)),
        "levels, a tenth missing": LevelColumn(
            name="a",
            values=[b"" if c < 0.1 else b"%d" % v for c, v in zip(chance, skewed, strict=True)],
        ),
        "a common level": LevelColumn(name="a", values=[b"%d" % level for level in skewed]),
        "many levels": LevelColumn(name="a", values=[b"%d" % one for one in rng.zipf(1.5, rows)]),
        "no level twice": LevelColumn(name="a", values=[b"%d" % one for one in range(rows)]),
        "no UTF-8": LevelColumn(name="a", values=[b"\xff%d" % level for level in skewed]),
        "no level": LevelColumn(name="a", values=[b""] * rows),
    }


@pytest.mark.parametrize("which", odd_columns())
def test_a_healthy_monitor_of_an_odd_column_is_found_to_be_one(which: str) -> None:
    """What is missing or unseen in the reference is no fault of its monitor."""
    profile = learn_profile([odd_columns()[which]], is_ordered=True, allowed=FEW)
    found = list(drift_trials(profile, "m v1"))

    last = Outcome.SKIPPED if which == "no level" else Outcome.RANG
    assert [one.outcome for one in found] == [Outcome.QUIET, Outcome.RANG, last]


@pytest.mark.parametrize("which", sorted(odd_columns().keys() - {"all missing"}))
def test_a_column_rings_for_what_is_done_to_it_alone(which: str) -> None:
    """Its values as they are ring nothing, else a broken alarm would be taken for a whole one."""
    profile = learn_profile([odd_columns()[which]], is_ordered=True, allowed=FEW)
    rows = MadeUpRows(profile, 0).changed(0, lambda column, _: column, 32)

    assert not Detector(profile).push(list(rows))


def with_calibration(threshold: float, units: float = 1.0) -> Profile:
    """A monitor that is more or less easily alarmed."""
    calibration = PROFILE.calibration
    return replace(
        PROFILE,
        calibration=Calibration(
            units=calibration.units * units, threshold=calibration.threshold * threshold
        ),
    )


def test_a_threshold_that_is_far_too_high_is_found() -> None:
    """An alarm that cannot ring is silent."""
    found = list(drift_trials(with_calibration(10.0), "m"))
    assert Outcome.SILENT in {one.outcome for one in found}


def test_a_threshold_that_is_far_too_low_is_found() -> None:
    """An alarm that always rings is false."""
    assert next(drift_trials(with_calibration(0.2), "m")).outcome is Outcome.FALSE


def test_a_column_that_is_not_looked_at_is_found_by_name() -> None:
    """Whoever takes one column out of the monitor hears of it."""
    calibration = PROFILE.calibration
    units = calibration.units.copy()
    own = [
        place
        for place, component in enumerate(PROFILE.encoder.components)
        if component.features == ("c",)
    ]
    units[:, own] = np.inf
    broken = replace(PROFILE, calibration=replace(calibration, units=units))
    silent = {one.alarm for one in drift_trials(broken, "m") if one.outcome is Outcome.SILENT}
    assert silent == {"c"}


def test_every_rule_of_a_contract_rings() -> None:
    """Each rule notices a row that was made to break it; so do rates and ages."""
    found = list(contract_trials(CONTRACT, TENSORS))
    expected = 5 + 5 + 2 + 2 + 4 + 2 + 1
    assert len(found) == expected
    assert {one.outcome for one in found} == {Outcome.RANG}, outcomes(found)


def test_a_rule_that_nothing_can_break_is_told() -> None:
    """A byte is never below 0: the rule is no alarm."""
    watched = Watched(name="small", tensor="small", rules=(rule(Check.MIN, 0),))
    found = next(contract_trials(DataContract(inputs=(watched,)), TENSORS))
    assert found.outcome is Outcome.SKIPPED
    assert "no value beyond 0" in found.told


def test_a_rule_that_does_not_notice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the part that judges sums broken, its rule is silent, and no other is."""
    monkeypatch.setattr(Watch, "_sum", lambda *_: None)
    silent = [
        one.alarm for one in contract_trials(CONTRACT, TENSORS) if one.outcome is Outcome.SILENT
    ]
    assert silent == ["y.sum_to"]


def test_promises_ring_when_they_are_broken() -> None:
    """Failing and slow calls ring, healthy ones do not."""
    assert {one.outcome for one in service_trials(PROMISE)} == {Outcome.RANG}


def test_a_promise_so_weak_that_it_cannot_burn_is_found() -> None:
    """If a tenth of the calls may be slow, no burn rate reaches 14.4."""
    weak = replace(PROMISE, fast_share=0.9)
    found = {one.alarm: one.outcome for one in service_trials(weak)}
    assert found == {"availability": Outcome.RANG, "latency": Outcome.SILENT}


@pytest.mark.parametrize("rows_per_s", [1000.0, 1.0, 0.01])
def test_silence_rings_at_any_rate_of_watched_rows(rows_per_s: float) -> None:
    """A monitor that hears nothing is an alarm itself; one that hears little, seldom, is none."""
    assert silence_trial(rows_per_s).outcome is Outcome.RANG


def test_a_reference_that_cannot_be_used_fails_the_self_test() -> None:
    """Nothing looks at the version's rows: that is no version that wants no looking at."""
    tried = Tried(
        spec=version_spec(VersionKey("m", 1)),
        served=None,
        promise=PROMISE,
        profile=None,
        rows_per_s=1000.0,
        now_s=0.0,
    )
    damaged = replace(tried, drift_trouble="it is damaged")
    unfit = replace(tried, profile=PROFILE, drift_trouble="no input 'c'")
    found = [
        [(one.outcome, one.told) for one in version_trials(each) if one.kind == DRIFT]
        for each in (tried, damaged, unfit)
    ]
    assert [outcome for outcome, _ in found[0]] == [Outcome.SKIPPED]
    assert found[1] == [(Outcome.SILENT, "it is damaged")]
    assert found[2] == [(Outcome.SILENT, "no input 'c'")]


def test_what_stands_for_a_missing_value_is_not_taken_to_break_another_rule() -> None:
    """-1 below a minimum of 0, 0 beside some classes, nothing below one letter: all are tokens."""
    tokens = DataContract(
        inputs=(
            Watched(name="x", tensor="x", null_tokens=(-1,), rules=(rule(Check.MIN, 0),)),
            Watched(
                name="small",
                tensor="small",
                null_tokens=(0, 4),
                rules=(
                    replace(rule(Check.ALLOWED, allowed=(1, 2)), id="small.allowed"),
                    replace(rule(Check.MAX, 3), id="small.max"),
                ),
            ),
            Watched(
                name="word",
                tensor="word",
                null_tokens=("", "aaaa"),
                rules=(
                    replace(rule(Check.MIN_LEN, 1), id="word.min_len"),
                    replace(rule(Check.MIN_LEN, 0), id="word.none"),
                    replace(rule(Check.MAX_LEN, 3), id="word.max_len"),
                ),
            ),
        )
    )
    found = {one.alarm: one.outcome for one in contract_trials(tokens, TENSORS)}

    assert {found.pop(f"word.{name}") for name in ("min_len", "none")} == {Outcome.SKIPPED}
    assert set(found.values()) == {Outcome.RANG, Outcome.SKIPPED}, found
    assert {name for name, one in found.items() if one is Outcome.SKIPPED} == {"rates", "age"}


def test_times_in_an_input_are_tried_as_numbers() -> None:
    """Old, early and missing ones ring; none can be unreadable, so that is not tried."""
    times = TensorSpec(name="at", datatype=Datatype.FP64, shape=(-1, 1))
    text = b"contract: 1\nevent_time: {input: at, max_lag: 10m, max_future: 1m}\n"
    tensors = replace(TENSORS, inputs=(times,))
    found = {one.alarm: one.outcome for one in contract_trials(parse_contract(text), tensors)}

    assert found.pop("event_time.format") is Outcome.SKIPPED
    assert {one for name, one in found.items() if name.startswith("event")} == {Outcome.RANG}
