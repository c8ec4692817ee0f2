"""The shape of `contract.yaml`: untrusted, so unknown keys are refused and sizes have bounds."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from runtimes.datatypes import Datatype
from serving.registry.contracts.data_contract import Action, Check

MAX_TENSORS: Final = 1000
MAX_LEVELS: Final = 10_000
MAX_SECONDS: Final = 1e10
UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
SPAN: Final = re.compile("([0-9]{1,11})([smhdw])")


def _seconds(value: object) -> object:
    """Return the seconds of `10m`, `36h` or `90d`; anything else is left to be refused."""
    found = SPAN.fullmatch(value) if isinstance(value, str) else None
    return value if found is None else float(int(found[1]) * UNITS_S[found[2]])


def _no_quarantine(value: object) -> object:
    if value == "quarantine":
        raise ValueError("rows cannot be put aside: reject, flag or count")
    return value


Length = Annotated[
    float,
    BeforeValidator(_seconds),
    Field(gt=0, le=MAX_SECONDS),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0, "maximum": MAX_SECONDS},
                {"type": "string", "pattern": "^[0-9]{1,11}[smhdw]$"},
            ]
        }
    ),
]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**64)]
Number = Whole | Finite
Level = bool | Whole | Finite | str
Levels = Annotated[tuple[Level, ...], Field(min_length=1, max_length=MAX_LEVELS)]
WrittenAction = Annotated[Action, BeforeValidator(_no_quarantine)]
Policy = WrittenAction | dict[Check, WrittenAction]
Rank = Annotated[tuple[Annotated[int, Field(ge=-1)], ...], Field(max_length=64)]
Rate = Annotated[float, Field(ge=0, le=1)]
Characters = Annotated[int, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RowChecks(_Strict):
    """What is asked of a whole row."""

    not_constant: bool = False


class Rules(_Strict):
    """What may be asked of any tensor, and of a column."""

    min: Number | None = None
    max: Number | None = None
    allowed: Levels | None = None
    min_len: Characters | None = Field(None, description="Characters of a BYTES element.")
    max_len: Characters | None = None
    utf8: bool = Field(
        default=False, description="Of inputs the protocol asks it anyway; of outputs this does."
    )
    finite: bool = Field(default=False, description="Neither NaN nor infinite.")
    null_tokens: Annotated[tuple[Level, ...], Field(max_length=100)] = ()
    nullable: bool = Field(default=True, description="False: a missing value breaks a rule.")
    max_null_rate: Rate | None = None
    row_checks: RowChecks = RowChecks()
    on_violation: Policy = Field(
        default=Action.COUNT, description="One action for all rules, or one for each check."
    )

    @model_validator(mode="after")
    def _in_order(self) -> "Rules":
        for low, high, what in (
            (self.min, self.max, "max"),
            (self.min_len, self.max_len, "max_len"),
        ):
            if low is not None and high is not None and low > high:
                raise ValueError(f"{what} is {high}, below the minimum {low}")
        return self


class Input(Rules):
    """An input of the model."""

    dtype: Datatype | None = None
    shape: Rank | None = None
    required: bool = Field(
        default=False, description="True: an optional input that is left out breaks a rule."
    )


class Feature(Rules):
    """One column of an input, with a name of its own."""

    input: str
    column: Annotated[int, Field(ge=0)]


class Sum(_Strict):
    """What the values along an axis come to."""

    axis: Annotated[int, Field(ge=0, le=63)] = 1
    value: Finite = 1.0
    tol: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-3


class Output(Rules):
    """An output of the model."""

    dtype: Datatype | None = None
    shape: Rank | None = None
    sum_to: Sum | None = None


class EventTimePolicy(_Strict):
    """Where a request says when its event happened, and how old that may be."""

    parameter: str = Field("", max_length=200)
    input: str = Field("", max_length=1000)
    unit: Literal["s", "ms", "us", "ns"] = "s"
    max_lag: Length | None = None
    max_future: Length | None = None
    on_violation: Policy = Action.COUNT

    @model_validator(mode="after")
    def _one_place(self) -> "EventTimePolicy":
        if bool(self.parameter) == bool(self.input):
            raise ValueError("name either a parameter or an input")
        return self


class Window(_Strict):
    """When rates become alarms."""

    window: Length = 600.0
    min_rows: Annotated[int, Field(ge=1)] = 500
    max_violation_rate: Rate | None = None


class Reference(_Strict):
    """The data that the contract was written from."""

    uri: str = ""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    rows: Annotated[int, Field(ge=0)] | None = None
    collected_from: date | None = None
    collected_until: date | None = None


class MaxAge(_Strict):
    """How old reference and training data may be."""

    warn: Length | None = None
    block: Length | None = None


class ContractModel(_Strict):
    """The whole file."""

    contract: Literal[1]
    model: str = ""
    status: Literal["draft", "active"] = "active"
    notes: str = ""
    echo_values: bool = False
    reference: Reference = Reference()
    trained_until: date | None = None
    max_age: MaxAge = MaxAge()
    inputs: Mapping[str, Input] = Field(default_factory=dict, max_length=MAX_TENSORS)
    features: Mapping[str, Feature] = Field(default_factory=dict, max_length=MAX_LEVELS)
    event_time: EventTimePolicy | None = None
    outputs: Mapping[str, Output] = Field(default_factory=dict, max_length=MAX_TENSORS)
    window_policy: Window = Window()

    @model_validator(mode="after")
    def _names_once(self) -> "ContractModel":
        for name in self.features:
            if name in self.inputs or name in self.outputs:
                raise ValueError(f"features.{name[:60]}: a tensor has that name: choose another")
        for name in self.outputs:
            if name in self.inputs:
                raise ValueError(f"outputs.{name[:60]}: an input has that name: give rules to one")
        return self
