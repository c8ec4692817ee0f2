"""What a rollout shall do: its strategy, steps and guardrails. Pure records, kept as JSON.

Shares count ten-thousandths of the calls that name no version, as in the route table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import msgspec

from runtimes.errors import InvalidArgumentError

WHOLE_SHARE: Final = 10_000
"""All calls."""
LEAST_QUANTILE: Final = 1e-3
LEAST_SHARE: Final = 1e-6
LEAST_ALPHA: Final = 1e-9
"""A smaller chance of a false alarm would hardly let a test find anything."""


class Strategy(StrEnum):
    """How traffic moves."""

    BLUE_GREEN = "blue-green"
    """Load beside, one flip, and a bake during which the old version stays loaded."""
    CANARY = "canary"
    """Shares in steps, then as blue-green."""
    SHADOW = "shadow"
    """Copies of live calls first, compared with their answers; then as blue-green."""
    AB = "ab"
    """A fixed split, until somebody promotes or aborts it."""
    RECREATE = "recreate"
    """Unload the old version, then load the new one: for what does not fit twice."""
    ROLLBACK = "rollback"
    """Back to a version that served before: nothing is compared, nobody waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One share of a canary, and what must have passed before the next."""

    share: int
    """Ten-thousandths of the calls."""
    hold_s: float = 0.0
    call_count: int = 0
    """Calls that the candidate has answered in this step."""


class QualityTest(StrEnum):
    """By what the data quality of a candidate's calls is judged."""

    AUTO = "auto"
    """Settled when the rollout begins, by the versions' data contracts; not before."""
    OFF = "off"
    COMPARED = "compared"
    """With what the live version's contract says of its calls."""
    LIMITED = "limited"
    """By a limit, whatever the live version's says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guardrails:
    """What ends a rollout. Each comparison is a sequential test; together they err at `alpha`."""

    alpha: float = 0.01
    """Chance that a candidate that is as good as the live version is rolled back."""
    error_rate: bool = True
    """The candidate fails calls more often than the live version, in the same time."""
    latency_quantile: float = 0.95
    latency_ratio: float = 1.5
    """That quantile may be so many times the live version's; 0: not compared."""
    mismatch_share: float = 0.001
    """Of the rows of copied calls, so many may be off by more than the tolerance; negative: not
    compared."""
    output_shift: bool = False
    """The candidate's outputs are distributed otherwise. Off: a better model moves them, too."""
    data_quality: QualityTest = QualityTest.AUTO
    """Its data contract refuses more calls, or more of its answers break a rule of it. Two
    comparisons. Where nobody settled it (a plan of an older Bascule), it is off."""
    violation_share: float = 0.01
    """Of the calls, so many may be refused, and of the answers break a rule, where it is limited.
    """
    quality_call_count: int = 20
    """Judged calls, or answers, of the candidate before they can end the rollout."""
    label_loss: bool = False
    """Its answers are wrong more often, by labels that come while the rollout goes on. Off: most
    labels come later."""
    restart_count: int = 2
    """So often may its workers end by themselves: at this many it is rolled back; 0: not looked
    at."""
    memory_growth_share: float = 0.5
    """Its workers may grow by so much over what they took when calls began; 0: not looked at."""
    min_call_count: int = 50
    """Calls of the candidate before it can pass a step."""


OFF: Final[Mapping[str, int]] = {
    "latency_ratio": 0,
    "mismatch_share": -1,
    "restart_count": 0,
    "memory_growth_share": 0,
}
"""The limits that switch their guardrails off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A rollout as it was asked for."""

    strategy: Strategy = Strategy.BLUE_GREEN
    steps: tuple[Step, ...] = ()
    """Canary: rising shares. A/B: the one split."""
    sticky_by: str = ""
    """A header whose value decides who gets the candidate; empty: chance decides, call by call."""
    shadow_s: float = 0.0
    """How long live calls are copied before any answer comes from the candidate."""
    shadow_call_count: int = 0
    """And how many must have been compared."""
    shadow_share: int = WHOLE_SHARE
    """How many of the live calls are copied, while only copies reach the candidate."""
    compare_share: int = 1_000
    """Likewise during a canary: answers to equal calls say most about a difference."""
    bake_s: float = 300.0
    """How long the old version stays loaded, and the guardrails watch, after the flip."""
    sequence_limit_s: float = 300.0
    """So long after the flip the old version stays loaded, at most, while sequences that began on
    it are under way."""
    approval_limit_s: float = 7 * 86_400.0
    """So long it waits for approvals. This limit and the next ones end a rollout, with the reason,
    when its state has waited so long; a pause stops them."""
    load_limit_s: float = 1800.0
    """Until the candidate is judged, and then until it is READY."""
    verify_limit_s: float = 600.0
    """Until a candidate that was READY, and is so no more, comes back before it has calls, or
    copies of calls: from then on `traffic_limit_s` counts."""
    traffic_limit_s: float = 86_400.0
    """Until a shadow or a step whose time is over has seen calls enough, its candidate there."""
    switch_limit_s: float = 1800.0
    """Until every edge obeys a flip whose bake is over, or the way back."""
    is_forced: bool = False
    """Callers of the live version may break: somebody said so, with a reason."""
    keep_old: bool = False
    """The old version stays loaded after the end."""
    guardrails: Guardrails = field(default_factory=Guardrails)

    @property
    def has_shadow(self) -> bool:
        """Whether copies of calls come first."""
        return self.shadow_s > 0 or self.shadow_call_count > 0

    @property
    def baked_s(self) -> float:
        """How long it bakes: not at all where the old version is gone, or the wrong one."""
        is_instant = self.strategy in {Strategy.ROLLBACK, Strategy.RECREATE}
        return 0.0 if is_instant else self.bake_s

    def encoded(self) -> str:
        """Write it as JSON."""
        return msgspec.json.encode(self).decode()


def decoded_plan(text: str) -> Plan:
    """Read what `Plan.encoded` wrote.

    Raises:
        InvalidArgumentError: It is damaged, or of a newer Bascule.
    """
    try:
        return msgspec.json.decode(text, type=Plan)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise InvalidArgumentError(
            f"cannot be read from the catalog ({error}): it ends; restore the catalog if others "
            "are damaged, too, and start it again"
        ) from error


def require_sound(plan: Plan) -> None:
    """Refuse a plan that cannot work.

    Raises:
        InvalidArgumentError: It names the field, what came, and what was expected.
    """
    _require_steps(plan)
    if plan.strategy is Strategy.ROLLBACK:
        raise InvalidArgumentError("strategy: a rollback is not started so: bascule rollback MODEL")
    _require_copies(plan)
    rails = plan.guardrails
    for name, value, least in (
        ("alpha", rails.alpha, LEAST_ALPHA),
        ("latency_quantile", rails.latency_quantile, LEAST_QUANTILE),
        ("violation_share", rails.violation_share, LEAST_SHARE),
    ):
        if not least <= value < 1:
            raise InvalidArgumentError(
                f"guardrails.{name} is at least {least:g} and below 1, got {value:g}"
            )


def _require_copies(plan: Plan) -> None:
    if plan.strategy is Strategy.SHADOW and not plan.has_shadow:
        raise InvalidArgumentError(
            "shadow: say how long (shadow_s) or how many calls (shadow_call_count)"
        )
    if plan.has_shadow and plan.strategy is Strategy.RECREATE:
        raise InvalidArgumentError(
            "shadow: a recreate rollout unloads the version whose calls would be copied"
        )
    if plan.has_shadow and plan.shadow_share == 0:
        raise InvalidArgumentError("shadow_percent: at least 0.01 % of the calls are copied")


def _require_steps(plan: Plan) -> None:
    shares = [step.share for step in plan.steps]
    if plan.strategy is Strategy.CANARY and not shares:
        raise InvalidArgumentError("steps: a canary needs at least one, such as 1%,10%,50%")
    if plan.strategy is Strategy.AB and len(shares) != 1:
        raise InvalidArgumentError(f"steps: an A/B test has one share, {len(shares)} were given")
    if plan.strategy not in {Strategy.CANARY, Strategy.AB} and shares:
        raise InvalidArgumentError(
            f"steps: a {plan.strategy} rollout has none, a {Strategy.CANARY} rollout has"
        )
    if any(not 0 < share < WHOLE_SHARE for share in shares):
        raise InvalidArgumentError(
            f"steps: shares are above 0 % and below 100 %, got {_percents(shares)}"
        )
    if shares != sorted(set(shares)):
        raise InvalidArgumentError(f"steps: shares must rise, got {_percents(shares)}")


def _percents(shares: list[int]) -> str:
    return ", ".join(f"{share / 100:g}%" for share in shares)
