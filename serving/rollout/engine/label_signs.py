"""Are the candidate's answers wrong more often than the live version's, by their labels? Pure.

One request counts once: by the first of its rows that got a label. In the same time both versions
are compared as failed calls are: labels of requests since the rollout began, in the windows in
which the labels came. After a flip, with a bound on what is known of the live version by then.
Labels must come to both versions' requests alike; where they come late, a rollout has to wait.
"""

from dataclasses import dataclass, field, replace

from serving.monitor.sequential import (
    NOTHING,
    Counted,
    Evidence,
    rate_excess,
    share_above,
    share_bound,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelCounts:
    """Wrong answers, of those with a label."""

    candidate: Counted = NOTHING
    live: Counted = NOTHING
    live_ever: Counted = NOTHING
    """Of the live version, requests from before the rollout, too."""

    def since(self, before: "LabelCounts") -> "LabelCounts":
        """Return what came since; what is known of the live version at all stays as it is."""
        return LabelCounts(
            candidate=_less(self.candidate, before.candidate),
            live=_less(self.live, before.live),
            live_ever=self.live_ever,
        )


NO_LABELS = LabelCounts()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSigns:
    """What is known by now."""

    evidence: Evidence = field(default_factory=Evidence)
    counts: LabelCounts = NO_LABELS
    """Since the start, or the flip; after a flip `live` is what was known then."""
    is_before: bool = False
    """The live version's are from before the flip."""


def weighed(signs: LabelSigns, window: LabelCounts, alpha: float) -> LabelSigns:
    """Add what came in a window.

    Args:
        signs: By now.
        window: What is new.
        alpha: Chance of a false alarm; half of it is kept for the bound after a flip.
    """
    counts = signs.counts
    candidate = _more(counts.candidate, window.candidate)
    if signs.is_before:
        bound = share_bound(counts.live, alpha / 2)
        evidence = share_above(signs.evidence, window.candidate, bound)
        return replace(signs, evidence=evidence, counts=replace(counts, candidate=candidate))
    return replace(
        signs,
        evidence=rate_excess(signs.evidence, candidate=window.candidate, live=window.live),
        counts=LabelCounts(
            candidate=candidate,
            live=_more(counts.live, window.live),
            live_ever=window.live_ever,
        ),
    )


def since_flip(signs: LabelSigns) -> LabelSigns:
    """Go on without a live arm: its answers are those that had a label at the flip."""
    counts = LabelCounts(live=signs.counts.live_ever, live_ever=signs.counts.live_ever)
    return replace(signs, counts=counts, is_before=True)


def _more(before: Counted, more: Counted) -> Counted:
    return Counted(before.event_count + more.event_count, before.all_count + more.all_count)


def _less(now: Counted, before: Counted) -> Counted:
    """Return what came since; old requests that were forgotten make no negative counts."""
    all_count = max(0, now.all_count - before.all_count)
    return Counted(min(max(0, now.event_count - before.event_count), all_count), all_count)
