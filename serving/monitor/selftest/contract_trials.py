"""Tries the data contract of one version: every rule, and its alarms about rates and ages. Pure.

Rules are tried by what judges requests (`serving.monitor.quality.judge`), rates by what counts them
and by what rings for them (`serving.monitor.alarms`), on a clock that is made up, too.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from runtimes.contract import Array, TensorSpec
from runtimes.errors import ModelLoadError
from serving.monitor.alarms.data_signs import age_signs, contract_signs
from serving.monitor.alarms.sign import CONTRACT, OUTDATED, Sign
from serving.monitor.quality.judge import Judge
from serving.monitor.quality.recorder import QualityRecorder
from serving.monitor.quality.verdict import Verdict
from serving.monitor.selftest.bad_values import ImpossibleError, breaking
from serving.monitor.selftest.trial import Outcome, Trial
from serving.registry.contracts.data_contract import (
    Check,
    DataContract,
    EventTime,
    Rule,
    Watched,
    action_in,
)

NOW_S: Final = 1.6e9
DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensors:
    """What a version takes and returns."""

    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]
    is_batched: bool


def contract_trials(contract: DataContract, tensors: Tensors) -> Iterator[Trial]:
    """Try all rules, then the alarms."""
    try:
        judge = Judge(contract, tensors.inputs, tensors.outputs, is_batched=tensors.is_batched)
    except ModelLoadError as error:
        yield Trial(
            kind=CONTRACT,
            alarm="contract",
            injected="nothing",
            outcome=Outcome.SILENT,
            told=error.message,
        )
        return
    for watched in contract.inputs:
        for rule in watched.rules:
            yield _rule_trial(judge, watched, rule, tensors, is_input=True)
    for watched in contract.outputs:
        for rule in watched.rules:
            yield _rule_trial(judge, watched, rule, tensors, is_input=False)
    if contract.event_time is not None:
        for rule in contract.event_time.rules:
            yield _event_trial(judge, contract.event_time, rule, tensors)
    yield from _rate_trials(contract)
    yield _age_trial(contract)


def _rule_trial(
    judge: Judge, watched: Watched, rule: Rule, tensors: Tensors, *, is_input: bool
) -> Trial:
    specs = tensors.inputs if is_input else tensors.outputs
    at = next(place for place, spec in enumerate(specs) if spec.name == watched.tensor)
    try:
        row = breaking(watched, rule, specs[at], is_batched=tensors.is_batched)
    except ImpossibleError as error:
        return _rule(rule, Outcome.SKIPPED, f"{error}")
    if is_input:
        arrays: list[Array | None] = [None] * len(specs)
        arrays[at] = row
        verdict = judge.judge_inputs(arrays, 1, None, NOW_S)
    else:
        alone = replace(judge.contract, inputs=(), outputs=(watched,), event_time=None)
        own = Judge(alone, (), (specs[at],), is_batched=tensors.is_batched)
        verdict = None if row is None else own.judge_outputs([row], 1)
    return _judged(judge.contract, rule, verdict)


def _event_trial(judge: Judge, time: EventTime, rule: Rule, tensors: Tensors) -> Trial:
    if rule.check is Check.FORMAT and time.input:
        return _rule(rule, Outcome.SKIPPED, "numbers of an input are times, whichever they are")
    lag_s = {Check.MAX_LAG: rule.limit + 1.0, Check.MAX_FUTURE: -rule.limit - 1.0}
    event = (NOW_S - lag_s.get(rule.check, 0.0)) / time.unit_s
    arrays: list[Array | None] = [None] * len(tensors.inputs)
    parameters: dict[str, object] = {}
    if rule.check is Check.FORMAT:
        parameters[time.parameter] = "at tea time"
    elif rule.check is not Check.ABSENT and time.input:
        names = [spec.name for spec in tensors.inputs]
        arrays[names.index(time.input)] = np.array([[event]])
    elif rule.check is not Check.ABSENT:
        parameters[time.parameter] = event
    return _judged(judge.contract, rule, judge.judge_inputs(arrays, 1, parameters, NOW_S))


def _judged(contract: DataContract, rule: Rule, verdict: Verdict | None) -> Trial:
    violations = () if verdict is None else verdict.violations
    found = next((one for one in violations if one.rule.id == rule.id), None)
    if found is None:
        return _rule(rule, Outcome.SILENT, "the rule does not notice what breaks it")
    action = action_in(contract, rule).value
    return _rule(rule, Outcome.RANG, f"noticed, and what follows is: {action}")


def _rule(rule: Rule, outcome: Outcome, told: str) -> Trial:
    injected = f"a row that breaks {rule.check.value}"
    return Trial(kind=CONTRACT, alarm=rule.id, injected=injected, outcome=outcome, told=told)


def _rate_trials(contract: DataContract) -> Iterator[Trial]:
    window = contract.window
    watched = (*contract.inputs, *contract.outputs)
    limits = {
        f"{one.name}.max_null_rate": (one.name, one.max_null_rate)
        for one in watched
        if one.max_null_rate is not None
    }
    if window.max_violation_rate is not None:
        limits["max_violation_rate"] = ("", window.max_violation_rate)
    if not limits:
        yield Trial(
            kind=CONTRACT,
            alarm="rates",
            injected="nothing",
            outcome=Outcome.SKIPPED,
            told="the contract sets no limit to a rate (window_policy, max_null_rate)",
        )
    for name, (column, limit) in limits.items():
        yield _rate_trial(contract, name, column, limit)


def _rate_trial(contract: DataContract, name: str, column: str, limit: float) -> Trial:
    """Break the limit by half of what is left to all rows, and keep to it before."""
    rows = max(contract.window.min_rows, 1)
    bad = min(rows, int(rows * (limit + (1.0 - limit) / 2)) + 1)
    within = _rung(contract, name, column, rows, int(rows * limit))
    beyond = _rung(contract, name, column, rows, bad)
    injected = f"{bad:,} of {rows:,} rows, {limit:.2%} are allowed"
    if within is not None:
        outcome, told = Outcome.FALSE, f"it rings within its limit: {within.text}"
    elif beyond is None:
        outcome, told = Outcome.SILENT, "the rate is over its limit, and nothing rings"
    else:
        outcome, told = Outcome.RANG, beyond.text
    data = {} if beyond is None else beyond.to_json()
    return Trial(
        kind=CONTRACT, alarm=name, injected=injected, outcome=outcome, told=told, data=data
    )


def _rung(contract: DataContract, name: str, column: str, rows: int, bad: int) -> Sign | None:
    recorder = QualityRecorder(contract)
    null_rows = {column: bad} if column and bad else {}
    verdict = Verdict(null_rows=null_rows, violating_row_count=0 if column else bad)
    recorder.count_request(rows, verdict, "self-test", NOW_S)
    return next((s for s in contract_signs(recorder.report(NOW_S)) if s.name == name), None)


def _age_trial(contract: DataContract) -> Trial:
    known = [one for one in (contract.reference_until_s, contract.trained_until_s) if one]
    limit_s = contract.age_limits.warn_s
    if limit_s is None or not known:
        return Trial(
            kind=OUTDATED,
            alarm="age",
            injected="nothing",
            outcome=Outcome.SKIPPED,
            told="the contract says no date of its data, or no limit to their age (max_age)",
        )
    later_s = max(known) + limit_s + DAY_S
    injected = f"a clock that says {limit_s / DAY_S + 1:.0f} days after the data"
    early = list(age_signs(contract, min(known)))
    late = list(age_signs(contract, later_s))
    if early:
        outcome, told = Outcome.FALSE, early[0].text
    elif not late:
        outcome, told = Outcome.SILENT, "data are older than their limit, and nothing rings"
    else:
        outcome, told = Outcome.RANG, late[0].text
    data = late[0].to_json() if late else {}
    return Trial(
        kind=OUTDATED, alarm="age", injected=injected, outcome=outcome, told=told, data=data
    )
