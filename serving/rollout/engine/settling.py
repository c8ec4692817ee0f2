"""What of a plan is settled when its rollout begins, and stays so until its end. Pure.

A guardrail that is on by the nature of the versions is settled here, so that the number of tests
among which the chance of a false alarm is divided is on record before anything is compared.
"""

from dataclasses import replace

from serving.registry.contracts.data_contract import DataContract
from serving.registry.rollouts.plan import Guardrails, Plan, QualityTest


def settled(plan: Plan, data_quality: QualityTest) -> Plan:
    """Write what was chosen into a plan."""
    return replace(plan, guardrails=replace(plan.guardrails, data_quality=data_quality))


def quality_test(
    asked: Guardrails, live: DataContract | None, candidate: DataContract | None, *, has_live: bool
) -> QualityTest:
    """Choose how data quality is judged, if nobody said.

    Args:
        asked: The plan's guardrails.
        live: The live version's data contract. A draft will do: it counts as the candidate's does.
        candidate: The candidate's. A draft sets no limit: its bounds are guessed from samples.
        has_live: Whether anything is live: else there is nothing to go back to.
    """
    if asked.data_quality is not QualityTest.AUTO:
        return asked.data_quality
    if live is not None:
        return QualityTest.COMPARED
    is_binding = candidate is not None and not candidate.is_draft
    return QualityTest.LIMITED if has_live and is_binding else QualityTest.OFF
