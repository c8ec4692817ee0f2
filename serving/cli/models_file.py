"""`models.yaml`: which version of each model shall be live, and how traffic gets there.

::

    models:
      resnet:
        version: 3                      # the only field that must be there
        strategy: canary                # blue-green if left out
        steps: [1%:60s, 10%:2000, 50%]  # as --steps of bascule rollout start
        sticky_by: bascule-key
        shadow: 60s
        bake: 10m
        limits: {load: 10m, traffic: 2d}
        keep_old: false
        approvals: 2                    # left out: as it is
        guardrails: {latency_ratio: 2, mismatch_share: 0.01}
        reason: release 2026-05

What is not said is as in `bascule rollout start`.
"""

import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runtimes.errors import BasculeError, InvalidArgumentError
from runtimes.misspelling import did_you_mean
from serving.cli.rollout_options import STANDARD_BAKE, PlanWords, plan_body
from serving.edge.rollout_body import MAX_STEPS, GuardrailsBody, RolloutBody
from serving.errors import NotFoundError
from serving.ids import MAX_VERSION, model_name
from serving.registry.approvals import MOST_APPROVALS
from serving.registry.rollouts.plan import Strategy, require_sound
from serving.registry.yaml_text import read_yaml

MAX_FILE_BYTES: Final = 1 << 20
MAX_MODELS: Final = 10_000
WHOLE_NUMBER: Final = "tag:yaml.org,2002:int"
PLAIN_NUMBER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
SCALARS: Final = (str, int, float, date, NoneType)

Text = Annotated[str, Field(max_length=2000)]


class _Wanted(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[int, Field(gt=0, le=MAX_VERSION, strict=True)]
    strategy: Strategy = Strategy.BLUE_GREEN
    steps: tuple[Text, ...] = Field(default=(), max_length=MAX_STEPS)
    sticky_by: Text = ""
    shadow: Text = ""
    bake: Text = STANDARD_BAKE
    limits: dict[Text, Text] = Field(default={}, max_length=MAX_STEPS)
    keep_old: Annotated[bool, Field(strict=True)] = False
    approvals: Annotated[int, Field(ge=0, le=MOST_APPROVALS, strict=True)] | None = None
    guardrails: GuardrailsBody = GuardrailsBody()
    reason: Text = ""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    models: dict[str, _Wanted] = Field(max_length=MAX_MODELS)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedModel:
    """What the file says of one model."""

    model: str
    version: int
    strategy: Strategy
    steps: tuple[str, ...]
    approvals: int | None
    """How many shall be required; None: the file does not say."""
    body: Mapping[str, object]
    """Of the call that starts the rollout."""


def read_models_file(file: Path) -> tuple[WantedModel, ...]:
    """Read what shall be live.

    Raises:
        NotFoundError: There is no such file.
        InvalidArgumentError: It names the field, what came, and what was expected.
    """
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise NotFoundError(f"{file} cannot be read: {error.strerror}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise InvalidArgumentError(f"{file}: it is larger than {MAX_FILE_BYTES} bytes")
    return parse_models(raw, str(file))


def parse_models(raw: bytes, source: str) -> tuple[WantedModel, ...]:
    """Read the file's text; raises what `read_models_file` raises.

    Args:
        raw: What the file holds.
        source: What to call it in messages.
    """
    try:
        said = read_yaml(raw, _require_plain)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(
            f"{source}: it cannot be read as YAML: {error.message}"
        ) from error
    try:
        found = _File.model_validate(said)
    except ValidationError as error:
        raise InvalidArgumentError(f"{source}: {_problem(error)}") from error
    return tuple(_wanted(name, one, source) for name, one in sorted(found.models.items()))


def _require_plain(root: yaml.Node) -> None:
    """Refuse numbers that are not what they look like: YAML would read 010 as 8 and 1:30 as 90."""
    pending, known = [root], set[yaml.Node]()
    while pending:
        node = pending.pop()
        if node in known:
            continue
        known.add(node)
        if isinstance(node, yaml.MappingNode):
            pending += [value for _, value in node.value]
        elif node.tag == WHOLE_NUMBER and not PLAIN_NUMBER.fullmatch(node.value):
            raise ValueError(f"{node.value!r}: write a number in plain digits, and text in quotes")


def _wanted(name: str, found: _Wanted, source: str) -> WantedModel:
    try:
        model_name(name)
        words = PlanWords(
            strategy=found.strategy,
            steps=",".join(found.steps),
            sticky_by=found.sticky_by,
            shadow=found.shadow,
            bake=found.bake,
            limits=[f"{limit}={text}" for limit, text in found.limits.items()],
            keep_old=found.keep_old,
        )
        body = plan_body(found.version, words) | {"reason": found.reason}
        body |= {"guardrails": found.guardrails.model_dump(exclude_unset=True)}
        require_sound(RolloutBody.model_validate(body).plan())
    except ValidationError as error:
        raise InvalidArgumentError(f"{source}: models.{name}: {_problem(error)}") from error
    except BasculeError as error:
        raise InvalidArgumentError(f"{source}: models.{name}: {error.message}") from error
    return WantedModel(
        model=name,
        version=found.version,
        strategy=found.strategy,
        steps=found.steps,
        approvals=found.approvals,
        body=body,
    )


def _problem(error: ValidationError) -> str:
    """Say every problem: the field, what came, what was expected."""
    return "; ".join(_one_problem(dict(one)) for one in error.errors(include_url=False)[:10])


def _one_problem(found: Mapping[str, Any]) -> str:
    place = [str(part) for part in found["loc"]]
    field = ".".join(place) or "the file"
    if found["type"] == "missing":
        return f"{field} is missing"
    if found["type"] == "extra_forbidden":
        names = (*_Wanted.model_fields, *GuardrailsBody.model_fields, *_File.model_fields)
        return f"{field} is no field{did_you_mean(place[-1], names, '; ')}"
    expected = found["msg"].removeprefix("Input ").removeprefix("should be ")
    if found["type"] == "model_type":
        expected = "a mapping of names to values"
    hint = ": put it in quotes" if found["type"] == "string_type" else ""
    return f"{field}: {_shown(found['input'])} came, {expected} is expected{hint}"


def _shown(value: object) -> str:
    """Show what came; of what holds others, only as much as a line takes."""
    return repr(str(value)[:80]) if isinstance(value, SCALARS) else reprlib.repr(value)[:80]
