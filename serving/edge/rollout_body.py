"""A request to start a rollout, as JSON: checked here, a `Plan` from here on."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from serving.ids import MAX_VERSION
from serving.registry.rollouts.plan import (
    LEAST_ALPHA,
    LEAST_SHARE,
    OFF,
    WHOLE_SHARE,
    Guardrails,
    Plan,
    QualityTest,
    Step,
    Strategy,
)

MAX_REASON_CHARACTERS = 2000
MAX_STEPS = 50
LONGEST_S = 90 * 86_400.0
MOST_CALLS = 10**9
Reason = Annotated[str, Field(max_length=MAX_REASON_CHARACTERS, pattern=r"^[^\x00]*$")]
"""Without NUL, which PostgreSQL cannot keep."""
DEFAULT = Guardrails()
STANDARD = Plan()


def _quality_word(value: object) -> object:
    """Take a switch for the word: YAML reads `off` as one."""
    if isinstance(value, bool):
        return QualityTest.AUTO if value else QualityTest.OFF
    return value


class StepBody(BaseModel):
    """One share of a canary."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    share_percent: float = Field(gt=0, lt=100)
    hold_s: float = Field(default=0.0, ge=0, le=LONGEST_S)
    call_count: int = Field(default=0, ge=0, le=MOST_CALLS)


def _or_off(name: str) -> BeforeValidator:
    """Read `off`, which YAML reads as false, as the limit that switches a guardrail off."""

    def read(given: object) -> object:
        if given is False or (isinstance(given, str) and given.lower() == "off"):
            return OFF[name]
        if given is True:
            raise ValueError("a number, or off, is expected")
        return given

    return BeforeValidator(read)


class GuardrailsBody(BaseModel):
    """What ends a rollout; what is not said is as in `Guardrails`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alpha: float = Field(default=DEFAULT.alpha, ge=LEAST_ALPHA, lt=1)
    error_rate: bool = DEFAULT.error_rate
    latency_quantile: float = Field(default=DEFAULT.latency_quantile, gt=0, lt=1)
    latency_ratio: Annotated[float, _or_off("latency_ratio")] = Field(
        default=DEFAULT.latency_ratio, ge=0, le=1000
    )
    mismatch_share: Annotated[float, _or_off("mismatch_share")] = Field(
        default=DEFAULT.mismatch_share, ge=-1, lt=1
    )
    output_shift: bool = DEFAULT.output_shift
    data_quality: Annotated[QualityTest, BeforeValidator(_quality_word)] = DEFAULT.data_quality
    violation_share: float = Field(default=DEFAULT.violation_share, ge=LEAST_SHARE, lt=1)
    quality_call_count: int = Field(default=DEFAULT.quality_call_count, ge=0, le=MOST_CALLS)
    label_loss: bool = DEFAULT.label_loss
    restart_count: Annotated[int, _or_off("restart_count")] = Field(
        default=DEFAULT.restart_count, ge=0, le=1000
    )
    memory_growth_share: Annotated[float, _or_off("memory_growth_share")] = Field(
        default=DEFAULT.memory_growth_share, ge=0, le=1000
    )
    min_call_count: int = Field(default=DEFAULT.min_call_count, ge=0, le=MOST_CALLS)


class RolloutBody(BaseModel):
    """Which version traffic moves to, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = Field(gt=0, le=MAX_VERSION, strict=True)
    strategy: Strategy = Strategy.BLUE_GREEN
    steps: tuple[StepBody, ...] = Field(default=(), max_length=MAX_STEPS)
    sticky_by: str = Field(default="", max_length=100)
    shadow_s: float = Field(default=0.0, ge=0, le=LONGEST_S)
    shadow_call_count: int = Field(default=0, ge=0, le=MOST_CALLS)
    shadow_percent: float = Field(default=100.0, gt=0, le=100)
    compare_percent: float = Field(default=10.0, ge=0, le=100)
    bake_s: float = Field(default=300.0, ge=0, le=LONGEST_S)
    sequence_limit_s: float = Field(default=300.0, ge=0, le=LONGEST_S)
    approval_limit_s: float = Field(default=STANDARD.approval_limit_s, gt=0, le=LONGEST_S)
    load_limit_s: float = Field(default=STANDARD.load_limit_s, gt=0, le=LONGEST_S)
    verify_limit_s: float = Field(default=STANDARD.verify_limit_s, gt=0, le=LONGEST_S)
    traffic_limit_s: float = Field(default=STANDARD.traffic_limit_s, gt=0, le=LONGEST_S)
    switch_limit_s: float = Field(default=STANDARD.switch_limit_s, gt=0, le=LONGEST_S)
    keep_old: bool = False
    force: bool = False
    reason: Reason = ""
    guardrails: GuardrailsBody = GuardrailsBody()

    def plan(self) -> Plan:
        """Return it as a plan; whether that can work is another question."""
        return Plan(
            strategy=self.strategy,
            steps=tuple(
                Step(
                    share=round(step.share_percent * WHOLE_SHARE / 100),
                    hold_s=step.hold_s,
                    call_count=step.call_count,
                )
                for step in self.steps
            ),
            sticky_by=self.sticky_by,
            shadow_s=self.shadow_s,
            shadow_call_count=self.shadow_call_count,
            shadow_share=round(self.shadow_percent * WHOLE_SHARE / 100),
            compare_share=round(self.compare_percent * WHOLE_SHARE / 100),
            bake_s=self.bake_s,
            sequence_limit_s=self.sequence_limit_s,
            approval_limit_s=self.approval_limit_s,
            load_limit_s=self.load_limit_s,
            verify_limit_s=self.verify_limit_s,
            traffic_limit_s=self.traffic_limit_s,
            switch_limit_s=self.switch_limit_s,
            is_forced=self.force,
            keep_old=self.keep_old,
            guardrails=Guardrails(**self.guardrails.model_dump()),
        )


class OrderBody(BaseModel):
    """Why somebody pauses, resumes, skips or aborts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Reason = ""
