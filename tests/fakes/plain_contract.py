"""A data contract's rules in plain Python, value by value: what the fast ones must say."""

import math

from runtimes.contract import Array
from serving.registry.contracts.data_contract import Check, Rule, Watched


def broken_rows(watched: Watched, rule: Rule, array: Array) -> list[int]:
    """Rows that break a rule."""
    return [
        row
        for row in range(len(array))
        if _is_broken(watched, rule, array[row].ravel().tolist(), array[row])
    ]


def missing_count(watched: Watched, array: Array) -> int:
    """Values that are NaN, or stand for none."""
    return sum(_is_null(watched, value) for value in array.ravel().tolist())


def _is_broken(watched: Watched, rule: Rule, row: list[object], tensor: Array) -> bool:
    values = row if watched.column is None else row[watched.column : watched.column + 1]
    if rule.check is Check.NULL:
        return not values or any(_is_null(watched, value) for value in values)
    if rule.check is Check.NOT_CONSTANT:
        return len(values) > 1 and all(value == values[0] for value in values)
    if rule.check is Check.FINITE:
        return any(not math.isfinite(float(str(value))) for value in values)
    if rule.check is Check.SUM_TO:
        total = sum(float(str(value)) for value in tensor.ravel().tolist())
        return not abs(total - rule.limit) <= rule.tolerance
    return any(_breaks(rule, value) for value in values if not _is_null(watched, value))


def _breaks(rule: Rule, value: object) -> bool:
    if rule.check is Check.ALLOWED:
        return value not in rule.allowed
    if rule.check is Check.MIN_LEN:
        return len(str(value)) < rule.limit
    if rule.check is Check.MAX_LEN:
        return len(str(value)) > rule.limit
    number = float(str(value)) if isinstance(value, float) else int(str(value))
    return number < rule.limit if rule.check is Check.MIN else number > rule.limit


def _is_null(watched: Watched, value: object) -> bool:
    return value in watched.null_tokens or (isinstance(value, float) and math.isnan(value))
