"""Monitoring in order, and for each code of the lint one thing of it that is not."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from runtimes.preflight.subject import AgeLimits
from serving.monitor import catalogue
from serving.monitor.lint.subject import (
    DAY_S,
    DriftReference,
    Exported,
    LintReceiver,
    LintSubject,
    MonitoredVersion,
    PrometheusRule,
    SilencedAlarm,
)
from serving.monitor.metric_list import all_metrics
from serving.registry.contracts.data_contract import (
    Check,
    DataContract,
    Rule,
    Watched,
    WindowPolicy,
)

AGE: Final = Watched(
    name="age",
    tensor="x",
    column=0,
    rules=(Rule(id="age.min", check=Check.MIN, limit=0),),
    max_null_rate=0.05,
)
CONTRACT: Final = DataContract(inputs=(AGE,), window=WindowPolicy(window_s=600, min_rows=500))
REFERENCE: Final = DriftReference(
    rows=5000, tensors=("x", "y"), rows_between_false_alarms=1e9, window_rows=64
)
VERSION: Final = MonitoredVersion(
    model="m",
    version=1,
    tensors=("x", "y"),
    contract=CONTRACT,
    reference=REFERENCE,
    ages_s={"reference data": 10 * DAY_S},
    age_limits=AgeLimits(warn_s=90 * DAY_S),
    rows_per_s=100.0,
    watched_rows_per_s=100.0,
)


def alert(expression: str, **changes: object) -> PrometheusRule:
    """An alert that says what to do."""
    rule = PrometheusRule(
        file="rules.yaml",
        name="Bad",
        expression=expression,
        is_alert=True,
        labels={"severity": "page"},
        annotations={"description": "look at bascule status"},
    )
    return replace(rule, **changes)  # type: ignore[arg-type]  # a test's own names


RULES: Final = (
    PrometheusRule(
        file="rules.yaml",
        name="bascule:calls:rate5m",
        expression="sum by (job, model) (rate(nv_inference_request_success[5m]))",
        is_alert=False,
    ),
    alert("bascule:calls:rate5m > 100", name="Busy"),
    alert(
        "sum by (model) (increase(nv_inference_request_failure{reason='OTHER'}[15m])) > 3",
        name="Failures",
        holds_s=300.0,
    ),
    alert(f'rate({catalogue.REQUEST_SECONDS.name}_bucket{{le="0.25"}}[5m]) == 0', name="Slow"),
    alert("bascule_ready == 0 unless on (job) up == 0", name="NotReady"),
    alert("vector(1)", name="DeadMansSwitch", labels={"severity": "none"}),
    alert("some_exporters_metric{any='label'} > 3", name="Foreign"),
)
EXPORTED: Final = Exported(
    names=frozenset(name for one in all_metrics() for name in one.series), series_count=500
)
RECEIVER: Final = LintReceiver(name="ops", types=("*",), subjects=("*",))
CLEAN: Final = LintSubject(
    versions=(VERSION,),
    rules=RULES,
    receivers=(RECEIVER,),
    exported=EXPORTED,
)


def with_version(**changes: object) -> LintSubject:
    """Monitoring of which the version is different."""
    return replace(CLEAN, versions=(replace(VERSION, **changes),))  # type: ignore[arg-type]


def with_reference(**changes: object) -> LintSubject:
    """Monitoring of which the reference is different."""
    return with_version(reference=replace(REFERENCE, **changes))  # type: ignore[arg-type]


def with_contract(**changes: object) -> LintSubject:
    """Monitoring of which the contract is different."""
    return with_version(contract=replace(CONTRACT, **changes))  # type: ignore[arg-type]


def with_rule(expression: str, **changes: object) -> LintSubject:
    """Monitoring with one alert more."""
    return replace(CLEAN, rules=(*RULES, alert(expression, **changes)))


SILENCED: Final = SilencedAlarm(feature="x[0]", who="ann", age_s=30 * DAY_S)
NEAR: Final = REFERENCE.rows_between_false_alarms
"""At a hundred rows a second: four months between false alarms."""
BROKEN: Final[Mapping[str, tuple[str, LintSubject]]] = {
    "a column of no tensor": ("ML01", with_version(contract_misfits=("age: no input 'z'",))),
    "a reference of another model": ("ML01", with_reference(tensors=("x", "z"))),
    "a reference that is damaged": ("ML02", with_version(reference_problem="it is cut off")),
    "a small reference": ("ML02", with_reference(rows=499)),
    "an old reference": ("ML02", with_version(ages_s={"reference data": 91 * DAY_S})),
    "less than a row": (
        "ML03",
        with_contract(window=WindowPolicy(min_rows=500, max_violation_rate=0.001)),
    ),
    "an alarm each half hour": ("ML04", with_reference(rows_between_false_alarms=195_000.0)),
    "ten times the rows": ("ML04", with_version(watched_rows_per_s=1000.0)),
    "a window that is never full": (
        "ML05",
        with_version(rows_per_s=0.5, watched_rows_per_s=0.5),
    ),
    "a first window in months": ("ML05", with_version(watched_rows_per_s=1e-5)),
    "nobody is told of drift": ("ML06", replace(CLEAN, receivers=())),
    "a page without words": ("ML06", with_rule("bascule_ready == 0", annotations={})),
    "a receiver that is away": (
        "ML07",
        replace(CLEAN, receivers=(replace(RECEIVER, problem="Connection refused"),)),
    ),
    "the same alert twice": ("ML09", with_rule("bascule:calls:rate5m  >  100", name="Again")),
    "the same rule twice": (
        "ML09",
        with_contract(inputs=(AGE, replace(AGE, name="years", max_null_rate=None))),
    ),
    "a constant column": ("ML10", with_reference(constant_columns=("x[3]",))),
    "a metric with a slip": ("ML11", with_rule("bascule_redy == 0")),
    "a label that it has not": ("ML11", with_rule("bascule_ready{model='m'} == 0")),
    "a series nobody records": ("ML11", with_rule("bascule:calls:rate1h > 1")),
    "no PromQL": ("ML11", with_rule("bascule_ready == ?")),
    "a metric that is not exported": (
        "ML11",
        replace(CLEAN, exported=Exported(names=frozenset(), series_count=5)),
    ),
    "longer than its window": (
        "ML12",
        with_rule("increase(bascule_edge_restarts_total[15m]) > 0", holds_s=1800.0),
    ),
    "a rate over two scrapes": ("ML13", with_rule("rate(nv_inference_count[30s]) > 1e6")),
    "no end of a bucket": (
        "ML14",
        with_rule(f'rate({catalogue.REQUEST_SECONDS.name}_bucket{{le="0.3"}}[5m]) > 9'),
    ),
    "seen and forgotten": ("ML15", with_version(silenced=(SILENCED,))),
    "too many series": (
        "ML17",
        replace(CLEAN, exported=replace(EXPORTED, series_count=10_001)),
    ),
    "a share above 1": ("ML19", with_rule("bascule_contract_window_rate > 1.5")),
    "a count below 0": ("ML19", with_rule("max by (job) (nv_inference_count) < 0")),
    "no rate is above 1": (
        "ML19",
        with_contract(window=WindowPolicy(max_violation_rate=1.0)),
    ),
    "always above 0": ("ML20", with_rule("nv_inference_count >= 0")),
    "always, whatever comes": ("ML20", with_rule("vector(2)", name="Oops")),
}
