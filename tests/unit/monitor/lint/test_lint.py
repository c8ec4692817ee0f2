"""Monitoring in order is silent; each thing that is not has its code, its limit and its remedy."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import InvalidArgumentError
from runtimes.findings import Finding, Severity
from serving.monitor.lint.catalogue import CATALOGUE
from serving.monitor.lint.check import lint
from serving.monitor.lint.firing import Firing, firing_of
from serving.monitor.lint.promql import duration_s, selectors_of, tokens_of
from serving.monitor.lint.rules_text import read_rules
from serving.monitor.lint.subject import DAY_S, LintReceiver, LintSubject
from serving.monitor.metric_list import all_metrics, haproxy_metrics
from tests.fakes.lint_cases import BROKEN, CLEAN, with_reference, with_version

METRICS = (*all_metrics(), *haproxy_metrics())


def judged(subject: LintSubject) -> tuple[Finding, ...]:
    """What is said, where receivers take all types that they name."""

    def wants(one: LintReceiver, kind: str, _: str) -> bool:
        return "*" in one.types or kind in one.types

    return lint(subject, METRICS, wants)


def test_monitoring_in_order_is_silent() -> None:
    """Contract, reference, rules and receivers of a version at a hundred rows a second."""
    assert judged(CLEAN) == ()


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_not_in_order_has_its_code(case: str) -> None:
    """That code and no other, at worst as severe as the catalogue says, with a remedy."""
    code, subject = BROKEN[case]

    found = judged(subject)

    assert {one.code for one in found} == {code}
    worst = CATALOGUE[code].severity
    order = [*Severity]
    assert all(order.index(one.severity) >= order.index(worst) for one in found)
    assert all(one.fix and one.message and one.subject for one in found)


def test_every_code_has_a_broken_case() -> None:
    """The catalogue lists what can be found, and nothing else."""
    assert {code for code, _ in BROKEN.values()} == set(CATALOGUE)


def test_a_false_alarm_is_told_in_calendar_time() -> None:
    """With the rows that would keep the budget; ten times the rows are ten times the alarms."""
    (slow,) = judged(with_reference(rows_between_false_alarms=195_000.0))
    subject = with_version(
        reference=replace(CLEAN.versions[0].reference, rows_between_false_alarms=195_000.0),
        watched_rows_per_s=1000.0,
    )
    (fast,) = judged(subject)

    assert "at 100 rows/s it alarms without cause every 32 minutes, 310.2 times a week" in (
        slow.message
    )
    assert "the budget is once in 30 days" in slow.message
    assert slow.fix == "watch 0.075 rows/s (BASCULE_DRIFT_ROWS_PER_S)"
    assert "3101.5 times a week" in fast.message


def test_a_rarer_alarm_is_proposed_where_one_can_be_learnt() -> None:
    """Its probability is one that `bascule drift learn` takes."""
    subject = with_version(
        watched_rows_per_s=1.0,
        reference=replace(CLEAN.versions[0].reference, rows_between_false_alarms=195_000.0),
    )

    (found,) = judged(subject)

    assert "--false-alarms 0.004" in found.fix


def test_a_budget_in_time_is_kept_at_any_rate() -> None:
    """The threshold follows the rows; one that allows too much is to be changed where it stands."""
    often = replace(CLEAN.versions[0].reference, rows_between_false_alarms=195_000.0)

    kept = with_version(reference=replace(often, seconds_between_false_alarms=30 * DAY_S))
    (found,) = judged(
        with_version(reference=replace(often, seconds_between_false_alarms=7 * DAY_S))
    )

    assert judged(kept) == ()
    assert found.code == "ML04"
    assert found.fix == "let the configuration say drift_false_alarms: 1 per 30d"


def test_what_was_not_measured_is_not_judged() -> None:
    """Without a rate of rows nobody knows how often an alarm comes."""
    subject = replace(
        with_reference(rows_between_false_alarms=1.0), false_alarm_every_s=365 * DAY_S
    )
    version = replace(subject.versions[0], rows_per_s=None, watched_rows_per_s=None)

    assert judged(replace(subject, versions=(version,), exported=None)) == ()


@pytest.mark.parametrize(
    ("expression", "firing"),
    [
        ("bascule_ready == 2", Firing(never=True)),
        ("bascule_ready < bool 1", Firing()),
        ("0 < bascule_ready", Firing()),
        ("1 < bascule_ready", Firing(never=True)),
        ("(bascule_ready > -1)", Firing(always=True)),
        ("rate(nv_inference_count[5m]) > 100", Firing()),
        ("rate(nv_inference_count[5m]) < 0", Firing(never=True)),
        ("nv_gpu_utilization > 0.9 and bascule_ready == 3", Firing(never=True)),
        ("nv_gpu_utilization > 0.9 or bascule_ready == 3", Firing()),
        ("bascule_ready == 3 or nv_gpu_utilization > 2", Firing(never=True)),
        ("bascule_ready >= 0 and on (job) up >= 0", Firing(always=True)),
        ("nv_inference_count - nv_inference_exec_count < 0", Firing()),
        ("absent(bascule_ready) > 5", Firing()),
        ("others_metric < 0", Firing()),
        ("max by (job) (bascule_ready) > 1", Firing(never=True)),
        ("bascule_drift_failed > 1", Firing(never=True)),
        ("sum by (job) (bascule_ready) > 1", Firing()),
    ],
)
def test_what_can_and_must_fire_is_told_as_far_as_bounds_are_known(
    expression: str, firing: Firing
) -> None:
    """What is not understood is neither."""
    assert firing_of(tokens_of(expression)) == firing


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("a{b='c', d=~\"e,f\"}[5m] offset 1h", ["a"]),
        ("sum by (job, a) (rate(x[1h30m]) / on (job) group_left (z) y)", ["x", "y"]),
        ("{__name__='q', job='b'} > 3", ["q"]),
        ("histogram_quantile(0.99, sum(rate(h_bucket[5m])) by (le))", ["h_bucket"]),
        ("bascule:calls:rate5m > 1e3 # a comment of a", ["bascule:calls:rate5m"]),
        ("min_over_time((sum by (job) (p))[10m:1m]) > 3", ["p"]),
        ("time() - x > 3 * 5", ["x"]),
    ],
)
def test_what_an_expression_reads_is_found(expression: str, names: list[str]) -> None:
    """Metrics, not labels, functions or words of the language."""
    assert [one.name for one in selectors_of(tokens_of(expression))] == names


def test_windows_are_read() -> None:
    """In all of Prometheus' units."""
    (one,) = selectors_of(tokens_of("rate(x[1h30m])"))

    assert one.window_s == 5400
    assert [duration_s(text) for text in ("90s", "2d", "500ms", "x")] == [90, 172_800, 0.5, 0]


@given(st.text(alphabet="abc_:(){}[]\"'`=~!<>+-*/%^,.@ #5mand or\n", max_size=60))
def test_no_expression_is_too_odd(text: str) -> None:
    """It is judged, or refused in words."""
    try:
        tokens = tokens_of(text)
    except InvalidArgumentError:
        return
    list(selectors_of(tokens))
    firing_of(tokens)


def test_a_file_of_rules_is_read() -> None:
    """Alerts and recordings; numbers may stand for texts, as in YAML."""
    text = """
groups:
- name: g
  rules:
  - {alert: A, expr: up == 0, for: 5m, labels: {severity: page, tier: 1}}
  - {record: "a:b", expr: 1}
"""
    alarm, record = read_rules(text.encode(), "r.yaml")

    assert (alarm.name, alarm.holds_s, alarm.labels) == (
        "A",
        300,
        {"severity": "page", "tier": "1"},
    )
    assert (record.name, record.expression, record.is_alert) == ("a:b", "1", False)


@pytest.mark.parametrize("text", ["", "[]", "groups: 3", "groups: [{rules: [{}]}]", "{", "a: *b"])
def test_a_file_that_holds_no_rules_is_refused(text: str) -> None:
    """By its name."""
    with pytest.raises(InvalidArgumentError, match=r"r\.yaml: it is no "):
        read_rules(text.encode(), "r.yaml")
