"""When traffic went from version to version, read off the record of rollouts. Pure.

A state is recorded before any route changes for it, and the next one after every edge obeys: so a
flip lies between the two. In a canary both versions may answer until the flip is done.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from serving.cli.load.flips import Flip
from serving.cli.load.ledger import Heading
from serving.edge.control import RolloutReport
from serving.registry.rollouts.record import RolloutState

MOVING: Final = frozenset({RolloutState.CANARY, RolloutState.SWITCHED})


def rollout_flips(reports: Iterable[RolloutReport], head: Heading) -> tuple[Flip, ...]:
    """Return the flips of some rollouts of one model, in the order of time.

    Args:
        reports: The rollouts, in any order. Those without traffic for the candidate have no flip.
        head: Of the ledger that the flips are held against: it relates the two clocks.
    """
    found = itertools.chain.from_iterable(_flips(report, head) for report in reports)
    return tuple(sorted(found, key=lambda flip: flip.began_s))


def _flips(report: RolloutReport, head: Heading) -> Iterator[Flip]:
    rollout, changes = report.rollout, report.transitions
    old, new = str(rollout.from_version or ""), str(rollout.to_version)
    moved = [one for one in changes if one.state in MOVING]
    if not moved:
        return
    at = changes.index(moved[-1]) + 1
    began_s = head.monotonic_at(moved[0].at_utc)
    if at == len(changes):  # it goes on: from here on either may answer
        yield Flip(from_version=old, to_version=new, began_s=began_s, done_s=float("inf"))
        return
    after = changes[at]
    done_s = head.monotonic_at(after.at_utc)
    if after.state is not RolloutState.ROLLING_BACK:
        yield Flip(from_version=old, to_version=new, began_s=began_s, done_s=done_s)
        return
    ended_s = head.monotonic_at(changes[-1].at_utc) if at + 1 < len(changes) else float("inf")
    yield Flip(from_version=old, to_version=new, began_s=began_s, done_s=done_s)
    yield Flip(from_version=new, to_version=old, began_s=done_s, done_s=ended_s)
