"""`contract.yaml`: what requests to a version and its answers must look like. Untrusted bytes.

::

    contract: 1
    status: active                          # draft: everything is counted, nothing is refused
    reference: {sha256: 3fa…, collected_until: 2026-09-30}
    trained_until: 2026-09-30
    max_age: {warn: 90d, block: 365d}
    inputs:
      age: {dtype: FP32, shape: [-1, 1], min: 0, max: 120, on_violation: reject}

`BUNDLE.md` has the whole language, `contract.schema.json` its JSON Schema.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from pydantic import ValidationError

from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError
from runtimes.preflight.subject import Age, AgeLimits, Contract, ContractTensor
from serving.registry.contracts.contract_model import (
    ContractModel,
    EventTimePolicy,
    Feature,
    Input,
    Output,
    Policy,
    Rules,
)
from serving.registry.contracts.data_contract import (
    EVENT_TIME,
    Action,
    Check,
    DataContract,
    EventTime,
    Rule,
    Watched,
    WindowPolicy,
)
from serving.registry.yaml_text import read_yaml

MAX_CONTRACT_BYTES: Final = 1 << 20
UNIT_S: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def judged_contract(found: DataContract, now_utc: datetime) -> Contract:
    """Return what preflight compares of a contract."""
    ends_s = {"reference data": found.reference_until_s, "training data": found.trained_until_s}
    return Contract(
        inputs=found.input_tensors,
        outputs=found.output_tensors,
        reference_sha256=found.reference_sha256,
        ages=tuple(
            Age(what=what, age_s=now_utc.timestamp() - end_s)
            for what, end_s in ends_s.items()
            if end_s is not None
        ),
        limits=found.age_limits,
    )


def parse_contract(raw: bytes) -> DataContract:
    """Read a contract.

    Raises:
        InvalidArgumentError: It is none; the message says where and why.
    """
    if len(raw) > MAX_CONTRACT_BYTES:
        raise InvalidArgumentError(f"it has more than {MAX_CONTRACT_BYTES} bytes")
    try:
        said = read_yaml(raw)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"it is no YAML: {error.message}") from error
    try:
        return _record(ContractModel.model_validate(said))
    except (RecursionError, ValueError, OverflowError) as error:
        raise InvalidArgumentError(_problem(error)) from error


def _record(found: ContractModel) -> DataContract:
    watched = (
        *(_watched(name, name, one) for name, one in found.inputs.items()),
        *(_watched(name, one.input, one) for name, one in found.features.items()),
    )
    return DataContract(
        is_draft=found.status == "draft",
        echo_values=found.echo_values,
        inputs=watched,
        outputs=tuple(_watched(name, name, one) for name, one in found.outputs.items()),
        event_time=None if found.event_time is None else _event_time(found.event_time),
        window=WindowPolicy(
            window_s=found.window_policy.window,
            min_rows=found.window_policy.min_rows,
            max_violation_rate=found.window_policy.max_violation_rate,
        ),
        input_tensors=_tensors(found.inputs),
        output_tensors=_tensors(found.outputs),
        reference_sha256=found.reference.sha256 or "",
        reference_until_s=_end_of(found.reference.collected_until),
        trained_until_s=_end_of(found.trained_until),
        age_limits=AgeLimits(warn_s=found.max_age.warn, block_s=found.max_age.block),
    )


def _watched(name: str, tensor: str, found: Rules) -> Watched:
    datatype = found.dtype if isinstance(found, Input | Output) else None
    _require_texts(name, found, datatype)
    rules = tuple(_rules(name, found))
    return Watched(
        name=name,
        tensor=tensor,
        column=found.column if isinstance(found, Feature) else None,
        null_tokens=found.null_tokens,
        rules=_with_actions(name, rules, found.on_violation),
        max_null_rate=found.max_null_rate,
    )


def _rules(name: str, found: Rules) -> Iterator[Rule]:
    limits = {
        Check.MIN: found.min,
        Check.MAX: found.max,
        Check.MIN_LEN: found.min_len,
        Check.MAX_LEN: found.max_len,
    }
    for check, limit in limits.items():
        if limit is not None:
            yield Rule(id=f"{name}.{check}", check=check, limit=limit)
    if found.allowed is not None:
        yield Rule(id=f"{name}.{Check.ALLOWED}", check=Check.ALLOWED, allowed=found.allowed)
    asked = {
        Check.NULL: not found.nullable,
        Check.FINITE: found.finite,
        Check.UTF8: found.utf8 and isinstance(found, Output),
        Check.NOT_CONSTANT: found.row_checks.not_constant,
        Check.ABSENT: isinstance(found, Input) and found.required,
    }
    for check, is_asked in asked.items():
        if is_asked:
            yield Rule(id=f"{name}.{check}", check=check)
    if isinstance(found, Output) and found.sum_to is not None:
        yield Rule(
            id=f"{name}.{Check.SUM_TO}",
            check=Check.SUM_TO,
            limit=found.sum_to.value,
            tolerance=found.sum_to.tol,
            axis=found.sum_to.axis,
        )


def _event_time(found: EventTimePolicy) -> EventTime:
    limits = {Check.MAX_LAG: found.max_lag, Check.MAX_FUTURE: found.max_future}
    rules = [
        Rule(id=f"{EVENT_TIME}.{check}", check=check, limit=limit)
        for check, limit in limits.items()
        if limit is not None
    ]
    rules += [
        Rule(id=f"{EVENT_TIME}.{check}", check=check) for check in (Check.FORMAT, Check.ABSENT)
    ]
    return EventTime(
        parameter=found.parameter,
        input=found.input,
        unit_s=UNIT_S[found.unit],
        rules=_with_actions(EVENT_TIME, tuple(rules), found.on_violation),
    )


def _with_actions(name: str, rules: tuple[Rule, ...], policy: Policy) -> tuple[Rule, ...]:
    """Give each rule its action; a policy for a rule that is not there is a mistake."""
    if isinstance(policy, Action):
        return tuple(_acting(rule, policy) for rule in rules)
    there = {rule.check for rule in rules}
    for check in policy:
        if check not in there:
            raise ValueError(f"{name}: on_violation names '{check}', and there is no such rule")
    return tuple(_acting(rule, policy.get(rule.check, Action.COUNT)) for rule in rules)


def _acting(rule: Rule, action: Action) -> Rule:
    return Rule(
        id=rule.id,
        check=rule.check,
        action=action,
        limit=rule.limit,
        tolerance=rule.tolerance,
        axis=rule.axis,
        allowed=rule.allowed,
    )


def _require_texts(name: str, found: Rules, datatype: Datatype | None) -> None:
    """YAML reads a bare NO, ON or 12 as something else than a text: say so, here."""
    if datatype is not Datatype.BYTES:
        return
    for level in (*(found.allowed or ()), *found.null_tokens):
        if not isinstance(level, str):
            raise ValueError(  # noqa: TRY004  what a file says is a value
                f"{name}: it is BYTES, and YAML reads {level} as no text: put it in quotes"
            )


def _tensors(found: Mapping[str, Input] | Mapping[str, Output]) -> tuple[ContractTensor, ...]:
    return tuple(
        ContractTensor(name=name, datatype=one.dtype, shape=one.shape)
        for name, one in found.items()
    )


def _end_of(day: date | None) -> float | None:
    if day is None:
        return None
    return (datetime.combine(day, time(), UTC) + timedelta(days=1)).timestamp()


def _problem(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())[:300]
    first: Any = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "contract"
    if first["type"] == "model_type":
        return f"{field}: a mapping of names to values is expected"
    return f"{field}: {first['msg']}"
