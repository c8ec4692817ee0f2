"""What running rollouts mean for routes. Pure."""

from collections.abc import Iterable, Mapping

from serving.registry.rollout_record import WITH_CANDIDATE, Rollout
from serving.rollout.desired import Split


def splits_of(rollouts: Iterable[Rollout]) -> Mapping[str, Split]:
    """Return model → its candidate and share, for rollouts that have not switched."""
    return {
        rollout.model: Split(
            candidate=rollout.to_version,
            share=rollout.share,
            sticky_by=rollout.plan.sticky_by,
        )
        for rollout in rollouts
        if rollout.state in WITH_CANDIDATE
    }
