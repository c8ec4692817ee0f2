"""Versions that a policy no longer chooses stay for the sequences that began on them."""

from dataclasses import replace

from serving.edge.control import Snapshot
from serving.ids import VersionKey
from serving.registry.policies.sequence_policy import SequencePolicy
from serving.registry.version import ServingPolicy, VersionState
from serving.rollout.desired import Desired
from serving.rollout.sequence_hold import SequenceHold
from tests.fakes.cluster import version_spec
from tests.unit.rollout.test_succession import A1, A2, published

READY, LOADING = VersionState.READY, VersionState.LOADING
SEQUENCES = ServingPolicy(sequences=SequencePolicy(max_sequences=4, idle_s=1))
BOTH = published({A1: READY, A2: READY}, {A1, A2})


def succession(old: VersionKey = A1, new: VersionKey = A2, **changes: object) -> Desired:
    """One version in another one's place."""
    desired = Desired(
        versions={new: version_spec(new, policy=SEQUENCES)},
        predecessors={old: version_spec(old, policy=SEQUENCES)},
    )
    return replace(desired, **changes)  # type: ignore[arg-type]  # a test's own names


def held_at(hold: SequenceHold, now_s: float, count: int | None) -> bool:
    """Whether version 1 is wanted then, when it has so many sequences."""
    return is_kept(hold, BOTH, count, now_s)


def is_kept(hold: SequenceHold, seen: Snapshot, count: int | None, now_s: float) -> bool:
    """Whether version 1 is wanted where the edges were told this."""
    return A1 in hold.with_held(succession(), seen, seen.routes, lambda _: count, now_s).versions


def test_a_version_stays_until_its_last_sequence_has_ended() -> None:
    """And for as long as it takes to hear that it has none."""
    hold = SequenceHold(100)
    assert held_at(hold, 50, 0)
    assert held_at(hold, 60, 1)
    assert not held_at(hold, 61, 0)
    assert not held_at(SequenceHold(100), 0, None)


def test_a_version_stays_while_its_worker_is_not_ready() -> None:
    """It may still have the sequences; one that is not routed any more has none."""
    assert is_kept(SequenceHold(100), published({A1: LOADING, A2: READY}, {A1, A2}), 1, 0)
    assert not is_kept(SequenceHold(100), published({A1: LOADING, A2: READY}, {A2}), 1, 0)


def test_a_version_stays_no_longer_than_the_limit() -> None:
    """It counts from when a successor was seen to serve."""
    hold = SequenceHold(100)
    assert held_at(hold, 50, 1)
    assert held_at(hold, 149, 1)
    assert not held_at(hold, 150, 1)
    assert not held_at(SequenceHold(0), 0, 1)


def test_nothing_is_kept_that_would_stay_live() -> None:
    """A version is kept only behind one that serves and gets the calls in its place."""
    hold = SequenceHold(100)

    def is_held(desired: Desired, *, is_new_ready: bool = True) -> bool:
        seen = published({A1: READY, A2: READY if is_new_ready else LOADING}, {A1, A2})
        found = hold.with_held(desired, seen, seen.routes, lambda _: 1, 0)
        return found != desired

    assert is_held(succession())
    assert not is_held(succession(), is_new_ready=False)
    assert not is_held(succession(old=A2, new=A1))
    assert not is_held(succession(pinned_live={"a": 1}))
    assert is_held(succession(pinned_live={"a": 2}))


def test_a_limit_counts_anew_after_everything_went_in_between() -> None:
    """A model that was taken away and came back is succeeded another time: not long ago."""
    hold = SequenceHold(100)
    assert held_at(hold, 0, 1)
    hold.with_held(Desired(), BOTH, BOTH.routes, lambda _: None, 50)
    assert held_at(hold, 1000, 1)
