"""Does the candidate break its data contract more often than the live version its own? Pure.

Two comparisons: calls that were refused for their inputs, and answers that break a rule. Requests
count, not rows: the rows of one request are no independent witnesses. In the same time both are
compared as failed calls are; after a flip, with a bound on the live version's rate from before.
Where the live version has no contract its calls say nothing, and a limit stands in its place.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from serving.monitor.sequential import (
    Counted,
    Evidence,
    rate_excess,
    share_above,
    share_bound,
)
from serving.monitor.traffic import NOT_JUDGED, QualityCounts
from serving.registry.rollouts.plan import Guardrails, QualityTest

TESTS: Final = frozenset({QualityTest.COMPARED, QualityTest.LIMITED})
"""What was settled, and is on."""
TEST_COUNT: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySigns:
    """What is known of it by now."""

    inputs: Evidence = field(default_factory=Evidence)
    outputs: Evidence = field(default_factory=Evidence)
    candidate: QualityCounts = NOT_JUDGED
    """Since the start, or the flip."""
    live: QualityCounts = NOT_JUDGED


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySide:
    """One of the two comparisons."""

    guardrail: str
    what: str
    candidate: Counted
    live: Counted
    evidence: Evidence


def refused(counts: QualityCounts) -> Counted:
    """Return the calls that were refused, of those that were judged."""
    return Counted(counts.refused_count, counts.judged_count)


def broken(counts: QualityCounts) -> Counted:
    """Return the answers that break a rule, of those that were judged."""
    return Counted(counts.broken_count, counts.answer_count)


def sides(signs: QualitySigns) -> Iterator[QualitySide]:
    """Return both comparisons as they stand."""
    one, other = signs.candidate, signs.live
    yield QualitySide(
        guardrail="input_quality",
        what="calls were refused",
        candidate=refused(one),
        live=refused(other),
        evidence=signs.inputs,
    )
    yield QualitySide(
        guardrail="output_quality",
        what="answers break a rule",
        candidate=broken(one),
        live=broken(other),
        evidence=signs.outputs,
    )


def weighed(
    signs: QualitySigns,
    candidate: QualityCounts,
    live: QualityCounts,
    guardrails: Guardrails,
    *,
    before: tuple[QualityCounts, float] | None = None,
) -> QualitySigns:
    """Add a window.

    Args:
        signs: Before.
        candidate: What its contract said in the window.
        live: The same of the live version.
        guardrails: How it is judged.
        before: What the live version's said before the flip, and the chance with which its true
            rate may be above the bound; None: it serves in the same time.
    """
    if guardrails.data_quality not in TESTS:
        return signs
    limit = guardrails.violation_share
    is_limited = guardrails.data_quality is QualityTest.LIMITED

    def tested(evidence: Evidence, one: Counted, other: Counted, past: Counted) -> Evidence:
        if is_limited:
            return share_above(evidence, one, limit)
        if before is None:
            return rate_excess(evidence, candidate=one, live=other)
        if not past.all_count:
            return evidence
        return share_above(evidence, one, share_bound(past, before[1]))

    past = NOT_JUDGED if before is None else before[0]
    return replace(
        signs,
        inputs=tested(signs.inputs, refused(candidate), refused(live), refused(past)),
        outputs=tested(signs.outputs, broken(candidate), broken(live), broken(past)),
        candidate=signs.candidate + candidate,
        live=signs.live + live,
    )


def since_flip(signs: QualitySigns, live: QualityCounts) -> QualitySigns:
    """Count anew, against the live version's calls from before; what was found stays."""
    return replace(signs, candidate=NOT_JUDGED, live=live)
