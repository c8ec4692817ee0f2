"""A data contract: what a version's inputs and outputs must look like, and what follows if not.

Frozen records: `serving.registry.contracts.contract_file` makes them of `contract.yaml`, workers
enforce them (`serving.monitor.quality`). They travel to workers as JSON.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from runtimes.preflight.subject import AgeLimits, ContractTensor

Scalar = bool | int | float | str
Number = int | float


class Action(StrEnum):
    """What a violated rule does to the request."""

    REJECT = "reject"  # it is refused, before it is queued
    FLAG = "flag"  # it is answered, and the answer says so
    COUNT = "count"  # it is answered as if nothing were


class Check(StrEnum):
    """What a rule asks of a row."""

    MIN = "min"
    MAX = "max"
    ALLOWED = "allowed"
    MIN_LEN = "min_len"
    MAX_LEN = "max_len"
    UTF8 = "utf8"
    FINITE = "finite"
    NULL = "null"
    ABSENT = "absent"
    NOT_CONSTANT = "not_constant"
    SUM_TO = "sum_to"
    MAX_LAG = "max_lag"
    MAX_FUTURE = "max_future"
    FORMAT = "format"  # an event's time that nobody can read


class MissingKind(StrEnum):
    """How a value can be missing."""

    NAN = "nan"
    TOKEN = "token"  # noqa: S105  one of the values that the contract says stand for none
    EMPTY = "empty"
    ABSENT = "absent"


NO_LIMITS: Final = AgeLimits()
EVENT_TIME: Final = "event_time"
"""What rules and counters call the time of an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that is asked of every row."""

    id: str
    check: Check
    action: Action = Action.COUNT
    limit: Number = 0
    """A bound, a length in characters, a sum, or seconds."""
    tolerance: float = 0.0
    """How far a sum may be off."""
    axis: int = 1
    """What is summed over."""
    allowed: tuple[Scalar, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What rules look at: a tensor, or one column of it."""

    name: str
    tensor: str
    column: int | None = None
    """None: all of the tensor."""
    null_tokens: tuple[Scalar, ...] = ()
    """Values that stand for none; NaN does anyway."""
    rules: tuple[Rule, ...] = ()
    max_null_rate: float | None = None
    """Share of rows with a missing value in the window that is no alarm yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventTime:
    """Where a request says when what it describes happened: a parameter, or an input."""

    parameter: str = ""
    input: str = ""
    unit_s: float = 1.0
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPolicy:
    """When rates become alarms. Rates never refuse a request."""

    window_s: float = 600.0
    min_rows: int = 500
    """With fewer rows in the window there is no alarm."""
    max_violation_rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataContract:
    """A whole contract."""

    is_draft: bool = False
    """It counts, whatever its rules say."""
    echo_values: bool = False
    """Refusals and samples may show the offending value."""
    inputs: tuple[Watched, ...] = ()
    """Inputs, and columns of them that have names of their own."""
    outputs: tuple[Watched, ...] = ()
    event_time: EventTime | None = None
    window: WindowPolicy = WindowPolicy()
    input_tensors: tuple[ContractTensor, ...] = ()
    """What preflight compares with the model."""
    output_tensors: tuple[ContractTensor, ...] = ()
    reference_sha256: str = ""
    reference_until_s: float | None = None
    """End of the reference data, in seconds since 1970; None: not said."""
    trained_until_s: float | None = None
    """The same of the training data."""
    age_limits: AgeLimits = NO_LIMITS

    def with_training(self, until: datetime | None) -> "DataContract":
        """Take what the manifest says of the training data, where the contract says nothing."""
        if self.trained_until_s is not None or until is None:
            return self
        return replace(self, trained_until_s=until.timestamp())


def action_in(contract: DataContract, rule: Rule) -> Action:
    """Return what a rule does as things stand: a draft only counts."""
    return Action.COUNT if contract.is_draft else rule.action
