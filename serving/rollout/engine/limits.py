"""How long a rollout may wait in each state, and what is said once that has passed. Pure.

A pause stops these clocks, and they begin anew when it ends. An A/B test waits for a person.
"""

from serving.registry.rollouts.plan import Plan, Strategy
from serving.registry.rollouts.record import Rollout, RolloutState

State = RolloutState


def overdue(rollout: Rollout, waited_s: float, waits_for: str) -> str:
    """Say that a state has waited for too long; empty: it has not.

    Args:
        rollout: As it was recorded last; nothing leads on from its state now.
        waited_s: How long it has been in its state and step.
        waits_for: What is missing now, in words.
    """
    plan, state = rollout.plan, rollout.state
    if plan.strategy is Strategy.AB and state is State.CANARY:
        return ""
    limit_s, name = {
        State.PENDING: (plan.approval_limit_s, "approval"),
        State.PREFLIGHT: (plan.load_limit_s, "load"),
        State.LOADING: (plan.load_limit_s, "load"),
        State.VERIFYING: (plan.verify_limit_s, "verify"),
        State.SHADOW: (plan.traffic_limit_s, "traffic"),
        State.CANARY: (plan.traffic_limit_s, "traffic"),
        State.SWITCHED: (plan.switch_limit_s, "switch"),
        State.ROLLING_BACK: (plan.switch_limit_s, "switch"),
    }[state]
    beyond_s = waited_s - _own_time_s(rollout)
    if beyond_s <= limit_s:
        return ""
    return f"{waits_for} after {limit_s:g} s in {state} (--limit {name})"


def _own_time_s(rollout: Rollout) -> float:
    """Return how long the plan itself keeps the rollout in its state: a limit counts from then."""
    plan = rollout.plan
    if rollout.state is State.SHADOW:
        return plan.shadow_s
    if rollout.state is State.CANARY:
        return plan.steps[rollout.step].hold_s
    if rollout.state is State.SWITCHED:
        return max(plan.baked_s, 0.0 if lets_go(plan) else plan.sequence_limit_s)
    return 0.0


def lets_go(plan: Plan) -> bool:
    """Whether a rollout ends without a wait for sequences that began on the version before."""
    return plan.keep_old or plan.strategy in {Strategy.ROLLBACK, Strategy.RECREATE}
