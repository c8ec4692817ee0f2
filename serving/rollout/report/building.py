"""From a rollout's history to its page. Pure."""

from serving.rollout.report import differences, judgement, overview, proof, verdicts
from serving.rollout.report.history import History
from serving.rollout.report.page import Page


def page_of(history: History) -> Page:
    """Write all of it."""
    rollout = history.rollout
    before = NO_VERSION if rollout.from_version is None else str(rollout.from_version)
    return Page(
        title=f"Rollout {rollout.id}: {rollout.model}, version {before} → {rollout.to_version}, "
        f"{rollout.state}",
        lead=overview.lead(history),
        sections=(
            overview.overview(history),
            overview.people(history),
            overview.timeline(history),
            differences.bundle(history),
            differences.interface(history),
            judgement.golden(history),
            judgement.copies(history),
            verdicts.guardrails(history),
            proof.memory(history),
            proof.signature(history),
            proof.audit(history),
            proof.unmeasured(history),
        ),
    )


NO_VERSION = "none"
