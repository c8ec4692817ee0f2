"""Counters of data contracts: windows, alarms, samples, and sums over workers."""

from collections.abc import Sequence

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from serving.ids import VersionKey
from serving.monitor.exposition import render
from serving.monitor.quality.drafting import Column, draft_contract
from serving.monitor.quality.event_time import seconds_of
from serving.monitor.quality.judge import Judge
from serving.monitor.quality.recorder import QualityRecorder
from serving.monitor.quality.report import MAX_SAMPLES, QualityReport
from serving.monitor.quality.samples import quality_samples
from serving.monitor.statistics import VersionStatistics
from serving.registry.contracts.contract_file import parse_contract
from serving.registry.contracts.data_contract import MissingKind
from serving.wire.call import InferCall
from serving.worker.quality_gate import QualityGate

CONTRACT = parse_contract(b"""
contract: 1
reference: {collected_until: 2026-01-01}
inputs: {x: {max: 10, max_null_rate: 0.1, on_violation: flag}}
window_policy: {window: 100s, min_rows: 4, max_violation_rate: 0.5}
""")
X = TensorSpec(name="x", datatype=Datatype.FP32, shape=(-1, 1))
START_S = 1_800_000_000.0
VALUES = st.lists(st.sampled_from([1.0, 11.0, float("nan")]), min_size=1, max_size=6)


def counted(requests: Sequence[Sequence[float]], now_s: float = START_S) -> QualityRecorder:
    """A worker that has seen requests, all at one moment."""
    judge, recorder = Judge(CONTRACT, [X], [], is_batched=True), QualityRecorder(CONTRACT)
    for number, values in enumerate(requests):
        array = np.array(values, np.float32).reshape(-1, 1)
        verdict = judge.judge_inputs([array], len(array), None, now_s)
        recorder.count_request(len(array), verdict, f"r{number}", now_s)
    return recorder


@given(st.lists(VALUES, max_size=8), st.integers(0, 8))
def test_two_workers_count_what_one_would(requests: list[list[float]], cut: int) -> None:
    """However requests are spread over them, and in whichever order they are added."""
    whole = counted(requests).report(START_S)
    one = counted(requests[:cut]).report(START_S)
    other = counted(requests[cut:]).report(START_S)

    for total in (one + other, other + one):
        assert total.row_count == whole.row_count
        assert total.violating_row_count == whole.violating_row_count
        assert [rule.row_count for rule in total.rules] == [r.row_count for r in whole.rules]
        assert total.missing == whole.missing
        assert total.window == whole.window
        assert total.alarms() == whole.alarms()


def test_rates_over_their_limits_are_alarms() -> None:
    """From the least number of rows on, and for as long as the window holds them."""
    recorder = counted([[11.0, 11.0, float("nan")]])
    assert recorder.report(START_S).alarms() == ()

    recorder = counted([[11.0, 11.0, float("nan"), 11.0]])
    alarms = {one.rule: one.rate for one in recorder.report(START_S).alarms()}
    assert alarms == {"x.max_null_rate": 0.25, "max_violation_rate": 0.75}
    assert recorder.report(START_S + 101).alarms() == ()


def test_a_clock_that_is_set_back_by_more_than_the_window_begins_it_anew() -> None:
    """By less it goes on: rows of a time that is still to come would ring until it has come."""
    recorder = counted([[11.0] * 4])

    assert recorder.report(START_S - 50).window.violating_row_count == 4
    assert recorder.report(START_S - 3600).window.row_count == 0
    recorder.pass_requests(1, 5, START_S - 3599)
    assert recorder.report(START_S - 3590).window.row_count == 5
    assert recorder.report(START_S - 3400).window.row_count == 0


BOTH = parse_contract(b"""
contract: 1
inputs: {x: {max: 10, on_violation: count}}
outputs: {y: {max: 10, on_violation: count}}
window_policy: {window: 100s, min_rows: 1, max_violation_rate: 0.9}
""")


@given(st.lists(st.tuples(st.integers(9, 12), st.integers(9, 12)), min_size=1, max_size=8))
def test_a_row_that_breaks_rules_on_both_ways_is_counted_once(pairs: list[tuple[int, int]]) -> None:
    """As it came and as it was answered: the rate is a share of rows, never more than 1."""
    y = TensorSpec(name="y", datatype=Datatype.FP32, shape=(-1, 1))
    judge, recorder = Judge(BOTH, [X], [y], is_batched=True), QualityRecorder(BOTH)
    gate = QualityGate(VersionKey("m", 1), judge, recorder, [X], lambda: START_S)
    given_rows, answered = np.array(pairs, np.float32).reshape(-1, 2, 1).swapaxes(0, 1)
    call = InferCall(
        id="",
        rows=len(pairs),
        shapes=((len(pairs), 1),),
        stack_key=(),
        tensors=(given_rows.tobytes(),),
        outputs=(),
    )

    gate.pass_on(gate.admit(call), [answered])

    report = gate.report()
    bad = sum(max(pair) > 10 for pair in pairs)
    assert report.violating_row_count == report.window.violating_row_count == bad
    assert report.rates()[0].rate == bad / len(pairs)
    assert [rule.row_count for rule in report.rules] == [
        sum(pair[place] > 10 for pair in pairs) for place in (0, 1)
    ]


def test_each_limit_has_its_series_from_the_start() -> None:
    """So that an alert can tell silence from health; counters are there for each rule, too."""
    statistics = VersionStatistics(
        model="m", version=1, failures={}, quality=counted([]).report(START_S)
    )

    lines = render(quality_samples([statistics, statistics])).decode().splitlines()

    version = 'model="m",version="1"'
    for line in (
        f'bascule_contract_alarm{{{version},rule="x.max_null_rate"}} 0',
        f'bascule_contract_window_rate{{{version},rule="max_violation_rate"}} 0',
        f'bascule_contract_violations_total{{{version},input="x",rule="x.max",action="flag"}} 0',
    ):
        assert lines.count(line) == 1


def test_samples_are_few_and_have_no_values() -> None:
    """The latest rows of each rule, by request."""
    (rule,) = counted([[11.0, 1.0, 11.0]] * 50).report(START_S).rules

    assert (rule.row_count, rule.request_count, len(rule.samples)) == (100, 50, MAX_SAMPLES)
    assert (rule.samples[-1].row, rule.samples[-1].request_id) == (2, "r49")
    assert {sample.value for sample in rule.samples} == {""}


def test_ages_are_counted_from_the_end_of_the_data() -> None:
    """What the contract does not say has none."""
    report = counted([]).report(START_S)

    assert report.reference_age_s == START_S - 1_767_312_000  # 2026-01-02, the end of the day
    assert report.training_age_s is None


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (1_700_000_000, 1_700_000_000.0),
        ("1700000000", 1_700_000_000.0),
        ("2023-11-14T22:13:20Z", 1_700_000_000.0),
        ("2023-11-14T23:13:20+01:00", 1_700_000_000.0),
        ("2023-11-14 22:13:20", 1_700_000_000.0),
        (True, None),
        ("soon", None),
        ("nan", None),
        (float("inf"), None),
        (10**400, None),
        ("1_700_000_000", None),
        ("\u0661\u0667", None),
    ],
)
def test_times_of_events(told: object, expected: float | None) -> None:
    """Numbers, or ISO 8601, which is UTC unless it says otherwise."""
    assert seconds_of(told, 1.0) == expected


def test_what_was_drafted_fits_the_rows_that_it_was_drafted_from() -> None:
    """The draft is a contract, and refuses nothing of its own rows even when it is active."""
    random = np.random.default_rng(7)
    levels = np.array(["MA", "NO", "CA"], object)[random.integers(0, 3, (2000, 1))]
    columns = [
        Column(name="x", values=random.uniform(0, 1, (2000, 1)), datatype=Datatype.FP32),
        Column(name="n", values=random.integers(0, 9, (2000, 1)), datatype=Datatype.INT64),
        Column(name="s", values=levels, datatype=Datatype.BYTES, shape=(-1, 1)),
        Column(name="m", values=random.uniform(0, 1, (2000, 3)), datatype=Datatype.FP64),
    ]
    text = draft_contract(columns, "rows", "m")
    draft = parse_contract(text.encode())
    specs = [
        TensorSpec(name=one.name, datatype=one.datatype or Datatype.FP32, shape=(-1, -1))
        for one in columns
    ]
    judge = Judge(draft, specs, [], is_batched=True)

    assert draft.is_draft
    assert yaml.safe_load(text)["inputs"]["s"]["allowed"] == ["CA", "MA", "NO"]
    assert {one.name for one in draft.inputs} == {"x", "n", "s", "m", "m_0", "m_1", "m_2"}
    assert judge.judge_inputs([one.values for one in columns], 2000, None, 0.0) is None


def test_a_few_rows_say_nothing_of_ranges() -> None:
    """A draft from them has names and datatypes only."""
    text = draft_contract(
        [Column(name="x", values=np.ones((5, 1)), datatype=Datatype.FP32)], "5 rows"
    )

    assert yaml.safe_load(text)["inputs"]["x"] == {
        "dtype": "FP32",
        "nullable": False,
        "on_violation": "count",
    }


def test_a_lone_missing_value_is_counted_as_such() -> None:
    """By how it is missing."""
    report: QualityReport = counted([[float("nan")]]).report(START_S)

    assert [(one.name, one.kind, one.count) for one in report.missing] == [
        ("x", MissingKind.NAN, 1)
    ]
