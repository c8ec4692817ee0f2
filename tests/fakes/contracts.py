"""Data contracts for the tests' models: one rule each, and a tensor that breaks it in one row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from runtimes.contract import Array
from runtimes.datatypes import Datatype
from tests.fakes import models

GOOD_EVENT = "2100-01-01T00:00:00Z"


@dataclass(frozen=True)
class RuleCase:
    """One rule of a contract, and requests of three rows of which the second breaks it."""

    rule: str
    """Its id."""
    contract: str
    """The contract's text; ACTION stands for the action."""
    bad: Mapping[str, Array]
    good: Mapping[str, Array]
    says: str
    """What a refusal says of the row."""
    model: bytes = field(default_factory=lambda: models.identity(Datatype.FP32))
    max_batch_rows: int = 8
    bad_parameters: Mapping[str, Any] = field(default_factory=dict)
    good_parameters: Mapping[str, Any] = field(default_factory=dict)
    rows: str = "1"
    """Of the request, as a flag names them."""
    is_answer: bool = False
    """The rule is about an output."""
    hidden: str = ""
    """The offending value, as nobody may be shown it."""


def numbers(*rows: float) -> dict[str, Array]:
    """An input of one column."""
    return {"INPUT0": np.array([[row] for row in rows], np.float32)}


def texts(*rows: str) -> dict[str, Array]:
    """The same of texts."""
    return {"INPUT0": np.array([[row.encode()] for row in rows], object)}


def about(rules: str, key: str = "inputs: {INPUT0", more: str = "") -> str:
    """A contract about one tensor."""
    return f"contract: 1\n{key}: {{{rules}, on_violation: ACTION}}}}\n{more}"


def timed(rules: str) -> str:
    """A contract about the time of events."""
    return f"contract: 1\nevent_time: {{parameter: at, {rules}on_violation: ACTION}}\n"


GOOD = numbers(1, 2, 3)
TEXT = models.identity(Datatype.BYTES)
SQRT = models.nan_on_demand()
ROOTS = {"x": np.ones((3, 4), np.float32)}
NO_ROOT = {"x": np.array([[1] * 4, [-1] * 4, [1] * 4], np.float32)}
LARGE_ROOT = {"x": np.array([[1] * 4, [81] * 4, [1] * 4], np.float32)}
OUTPUT = "outputs: {y"
TINY = {"x": np.ones((3, 16), np.float32)}
BIAS = {**TINY, "bias": np.zeros(4, np.float32)}
FLAT = {"INPUT0": np.array([[1, 2], [7.5, 7.5], [3, 4]], np.float32)}

CASES = {
    "min": RuleCase(
        "INPUT0.min", about("min: 0.5"), numbers(1, -7.25, 3), GOOD,
        "input 'INPUT0' row 1 is below the minimum 0.5", hidden="7.25",
    ),
    "max": RuleCase(
        "INPUT0.max", about("max: 120"), numbers(1, 130.5, 3), GOOD,
        "input 'INPUT0' row 1 is above the maximum 120", hidden="130.5",
    ),
    "allowed": RuleCase(
        "INPUT0.allowed", about("allowed: [1, 2, 3]"), numbers(1, 7.5, 3), GOOD,
        "input 'INPUT0' row 1 is none of the allowed values 1, 2, 3", hidden="7.5",
    ),
    "finite": RuleCase(
        "INPUT0.finite", about("finite: true"), numbers(1, np.inf, 3), GOOD,
        "input 'INPUT0' row 1 is not finite",
    ),
    "nan": RuleCase(
        "INPUT0.null", about("nullable: false"), numbers(1, np.nan, 3), GOOD,
        "input 'INPUT0' row 1 is missing",
    ),
    "token": RuleCase(
        "INPUT0.null", about("nullable: false, null_tokens: [-999]"), numbers(1, -999, 3), GOOD,
        "input 'INPUT0' row 1 is missing", hidden="-999",
    ),
    "empty": RuleCase(
        "INPUT0.null", about("nullable: false"), {"INPUT0": np.empty((3, 0), np.float32)}, GOOD,
        "input 'INPUT0' row 0 is missing", rows="0,1,2",
    ),
    "constant": RuleCase(
        "INPUT0.not_constant", about("row_checks: {not_constant: true}"), FLAT,
        {"INPUT0": FLAT["INPUT0"][[0, 2]]},
        "input 'INPUT0' row 1 has the same value everywhere", hidden="7.5",
    ),
    "feature": RuleCase(
        "age.max", about("input: INPUT0, column: 1, max: 5", "features: {age"), FLAT,
        {"INPUT0": FLAT["INPUT0"][[0, 2]]},
        "input 'INPUT0' (feature 'age') row 1 is above the maximum 5", hidden="7.5",
    ),
    "level": RuleCase(
        "INPUT0.allowed", about("dtype: BYTES, allowed: [MA, NY]"), texts("MA", "Xy", "NY"),
        texts("MA", "NY"), "input 'INPUT0' row 1 is none of the allowed values MA, NY",
        model=TEXT, hidden="Xy",
    ),
    "min_len": RuleCase(
        "INPUT0.min_len", about("min_len: 2"), texts("ab", "Q", "abc"), texts("ab"),
        "input 'INPUT0' row 1 has fewer than 2 characters", model=TEXT,
    ),
    "max_len": RuleCase(
        "INPUT0.max_len", about("max_len: 2"), texts("ab", "xyzzy", "€€"), texts("€€"),
        "input 'INPUT0' row 1 has more than 2 characters", model=TEXT, hidden="xyzzy",
    ),
    "text token": RuleCase(
        "INPUT0.null", about('nullable: false, null_tokens: ["", "n/a"]'), texts("ab", "", "b"),
        texts("ab"), "input 'INPUT0' row 1 is missing", model=TEXT,
    ),
    "absent": RuleCase(
        "bias.absent", about("required: true", "inputs: {bias"), TINY, BIAS,
        "input 'bias' was left out", model=models.optional_bias(), max_batch_rows=0, rows="0",
    ),
    "max_lag": RuleCase(
        "event_time.max_lag", timed("max_lag: 10m, "), GOOD, GOOD,
        "event_time ('at') is more than 600 s old", rows="0,1,2",
        bad_parameters={"at": "2020-01-01T00:00:00Z"}, good_parameters={"at": GOOD_EVENT},
    ),
    "max_future": RuleCase(
        "event_time.max_future", timed("max_future: 1m, "), GOOD, GOOD,
        "event_time ('at') is more than 60 s in the future", rows="0,1,2",
        bad_parameters={"at": GOOD_EVENT}, good_parameters={"at": 1_600_000_000},
    ),
    "no time": RuleCase(
        "event_time.format", timed(""), GOOD, GOOD,
        "event_time ('at') is no time", rows="0,1,2",
        bad_parameters={"at": "yesterday"}, good_parameters={"at": GOOD_EVENT},
    ),
    "time left out": RuleCase(
        "event_time.absent", timed(""), GOOD, GOOD,
        "event_time ('at') was left out", rows="0,1,2", good_parameters={"at": GOOD_EVENT},
    ),
    "answer finite": RuleCase(
        "y.finite", about("finite: true", OUTPUT), NO_ROOT, ROOTS,
        "output 'y' row 1 is not finite", model=SQRT, is_answer=True,
    ),
    "answer max": RuleCase(
        "y.max", about("max: 2", OUTPUT), LARGE_ROOT, ROOTS,
        "output 'y' row 1 is above the maximum 2", model=SQRT, is_answer=True,
    ),
    "answer sum": RuleCase(
        "y.sum_to", about("sum_to: {value: 4}", OUTPUT), LARGE_ROOT,
        ROOTS, "output 'y' row 1 does not sum to 4 within 0.001", model=SQRT, is_answer=True,
    ),
}  # fmt: skip
