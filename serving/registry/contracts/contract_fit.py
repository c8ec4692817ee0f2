"""Pure: can the rules of a data contract be asked of a model's tensors at all?"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Final

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from serving.registry.contracts.data_contract import Check, DataContract, Rule, Scalar, Watched

OF_NUMBERS: Final = frozenset({Check.MIN, Check.MAX, Check.FINITE, Check.SUM_TO})
OF_TEXTS: Final = frozenset({Check.MIN_LEN, Check.MAX_LEN, Check.UTF8})


def misfits(
    contract: DataContract,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    is_batched: bool,
) -> list[str]:
    """Return what a contract asks that these tensors cannot answer, for people.

    Args:
        contract: What is asked.
        inputs: The model's, with the batch dimension.
        outputs: Likewise.
        is_batched: Whether the first dimension is the batch.
    """
    found: list[str] = []
    for role, watched, specs in (
        ("input", contract.inputs, inputs),
        ("output", contract.outputs, outputs),
    ):
        known = {spec.name: spec for spec in specs}
        for one in watched:
            spec = known.get(one.tensor)
            if spec is None:
                found.append(f"{one.name}: the model has no {role} '{one.tensor}'")
            else:
                found += _misfits(one, spec, is_batched=is_batched)
    return found + list(_time_misfits(contract, inputs))


def _misfits(watched: Watched, spec: TensorSpec, *, is_batched: bool) -> Iterator[str]:
    for rule in watched.rules:
        problem = _rule_problem(rule, watched, spec, is_batched=is_batched)
        if problem:
            yield f"{rule.id}: {problem}"
    for token in watched.null_tokens:
        if not _is_of(token, spec.datatype):
            yield f"{watched.name}: null token {token!r} is no {spec.datatype}"
    if watched.column is None or not spec.shape:
        return
    sizes = spec.shape[1:] if is_batched else spec.shape
    if -1 not in sizes and watched.column >= prod(sizes):
        yield (
            f"{watched.name}: column {watched.column} of '{spec.name}', whose rows have "
            f"{prod(sizes)} values"
        )


def _rule_problem(rule: Rule, watched: Watched, spec: TensorSpec, *, is_batched: bool) -> str:
    is_text = spec.datatype is Datatype.BYTES
    if rule.check in (OF_NUMBERS if is_text else OF_TEXTS):
        other = "numbers" if is_text else "BYTES"
        return f"'{spec.name}' is {spec.datatype}, and this is asked of {other}"
    for level in rule.allowed:
        if not _is_of(level, spec.datatype):
            return f"{level!r} is no {spec.datatype}"
    if rule.check is Check.NOT_CONSTANT and watched.column is not None:
        return "one column of a row is always constant"
    return _sum_problem(rule, spec, least=1 if is_batched else 0)


def _sum_problem(rule: Rule, spec: TensorSpec, *, least: int) -> str:
    rank = len(spec.shape) or rule.axis + 1
    if rule.check is not Check.SUM_TO or least <= rule.axis < rank:
        return ""
    return f"axis {rule.axis} of '{spec.name}': one of {least} to {rank - 1} is expected"


def _time_misfits(contract: DataContract, inputs: Sequence[TensorSpec]) -> Iterator[str]:
    time = contract.event_time
    if time is None or not time.input:
        return
    spec = next((spec for spec in inputs if spec.name == time.input), None)
    if spec is None:
        yield f"event_time: the model has no input '{time.input}'"
    elif spec.datatype in {Datatype.BYTES, Datatype.BOOL}:
        yield f"event_time: '{time.input}' is {spec.datatype}, and a number is expected"


def _is_of(level: Scalar, datatype: Datatype) -> bool:
    if datatype is Datatype.BYTES:
        return isinstance(level, str)
    if datatype is Datatype.BOOL:
        return isinstance(level, bool)
    return not isinstance(level, str | bool)
