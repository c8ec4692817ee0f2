"""`contract.yaml` of a bundle: what preflight compares with the model. Untrusted bytes.

Read are names, datatypes and shapes of tensors, the reference data and its age, and how old they
may be; whatever else a contract says (ranges, rates, policies) is for others and is passed over.

::

    contract: 1
    reference: {sha256: 3fa…, collected_until: 2026-09-30}
    trained_until: 2026-09-30
    max_age: {warn: 90d, block: 365d}
    inputs:
      age: {dtype: FP32, shape: [-1, 1]}
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from runtimes.datatypes import Datatype
from runtimes.preflight.subject import Age, AgeLimits, Contract, ContractTensor

MAX_CONTRACT_BYTES: Final = 1 << 20
DAY_S: Final = 86_400
UNITS: Final = {"d": DAY_S, "w": 7 * DAY_S}


def _days(value: object) -> object:
    """Return the seconds of `90d` or `12w`; anything else is left to be refused."""
    if isinstance(value, str) and value[:-1].isdecimal() and value[-1:] in UNITS:
        return float(int(value[:-1][:6]) * UNITS[value[-1]])
    return value


Length = Annotated[float, BeforeValidator(_days), Field(gt=0)]


class _Loose(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Tensor(_Loose):
    dtype: Datatype | None = None
    shape: tuple[Annotated[int, Field(ge=-1)], ...] | None = Field(None, max_length=64)


class _Reference(_Loose):
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    collected_until: date | None = None


class _MaxAge(_Loose):
    warn: Length | None = None
    block: Length | None = None


class _Contract(_Loose):
    contract: Literal[1]
    reference: _Reference = _Reference()
    trained_until: date | None = None
    max_age: _MaxAge = _MaxAge()
    inputs: dict[str, _Tensor] = Field(default_factory=dict, max_length=1000)
    outputs: dict[str, _Tensor] = Field(default_factory=dict, max_length=1000)


def read_contract(raw: bytes, trained_until: datetime | None, now_utc: datetime) -> Contract:
    """Return what a contract says; one that cannot be read says its problem.

    Args:
        raw: The file's bytes.
        trained_until: The newest observation that the model has seen, as its manifest says.
        now_utc: What ages are counted to.
    """
    if len(raw) > MAX_CONTRACT_BYTES:
        return Contract(problem=f"it has more than {MAX_CONTRACT_BYTES} bytes")
    try:
        found = _Contract.model_validate(yaml.safe_load(raw))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return Contract(problem=_problem(error))
    trained = _end_of(found.trained_until) or trained_until
    moments = {
        "reference data": _end_of(found.reference.collected_until),
        "training data": trained,
    }
    return Contract(
        inputs=_tensors(found.inputs),
        outputs=_tensors(found.outputs),
        reference_sha256=found.reference.sha256 or "",
        ages=tuple(
            Age(what=what, age_s=(now_utc - moment).total_seconds())
            for what, moment in moments.items()
            if moment is not None
        ),
        limits=AgeLimits(warn_s=found.max_age.warn, block_s=found.max_age.block),
    )


def _tensors(found: Mapping[str, _Tensor]) -> tuple[ContractTensor, ...]:
    return tuple(
        ContractTensor(name=name, datatype=one.dtype, shape=one.shape)
        for name, one in found.items()
    )


def _end_of(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC) + timedelta(days=1)


def _problem(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"it is no YAML: {' '.join(str(error).split())[:200]}"
    first: Any = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "contract"
    return f"{field}: {first['msg']}"
