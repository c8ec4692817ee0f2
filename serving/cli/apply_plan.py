"""What would make models as a file says: pure, from what is wanted and what is seen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from serving.cli.models_file import WantedModel
from serving.registry.rollouts.plan import Strategy
from serving.registry.rollouts.record import ENDED, Rollout, RolloutState


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What there is."""

    live: Mapping[str, int | None]
    versions: Mapping[str, frozenset[int]]
    """The versions of each model that could be loaded."""
    rules: Mapping[str, int]
    """How many approvals models require."""
    latest: Mapping[str, Rollout]
    """The latest rollout of each model that had one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference between the file and what there is."""

    model: str
    text: str
    starts: bool = False
    """A rollout is started."""
    requires: int | None = None
    """So many approvals are required from now on."""
    follows: int | None = None
    """This rollout is under way already: nothing is to be done but to wait."""
    blocked: str = ""
    """Why it is not done; empty: it is."""


def differences(
    wanted: Sequence[WantedModel], seen: Seen, *, retry: bool
) -> tuple[Difference, ...]:
    """Return what differs, in the file's order; nothing: all is as the file says.

    Args:
        wanted: The file.
        seen: What there is.
        retry: Start again what was rolled back.
    """
    return tuple(found for one in wanted for found in _of(one, seen, retry=retry))


def waits_for_people(rollout: Rollout) -> bool:
    """Whether a rollout goes on only when somebody says so."""
    is_split = rollout.plan.strategy is Strategy.AB and rollout.state is RolloutState.CANARY
    return rollout.missing_approval_count > 0 or rollout.is_paused or is_split


def _of(wanted: WantedModel, seen: Seen, *, retry: bool) -> Iterator[Difference]:
    model, rule = wanted.model, seen.rules.get(wanted.model, 0)
    if wanted.approvals is not None and wanted.approvals != rule:
        told = f"approvals {rule} → {wanted.approvals}"
        yield Difference(model=model, text=told, requires=wanted.approvals)
    live, latest = seen.live.get(model), seen.latest.get(model)
    told = f"live {live or '-'} → {wanted.version}, {_way(wanted)}"
    if latest is not None and latest.state not in ENDED:
        yield from _meanwhile(wanted, latest, told)
    elif live != wanted.version:
        blocked = _blocked(wanted, seen, latest, retry=retry)
        yield Difference(model=model, text=told, starts=not blocked, blocked=blocked)


def _meanwhile(wanted: WantedModel, latest: Rollout, told: str) -> Iterator[Difference]:
    """While a rollout is under way: it is the one, or somebody has to end it."""
    moves = f"rollout {latest.id} to version {latest.to_version} is {latest.state}"
    if latest.to_version == wanted.version:
        yield Difference(model=wanted.model, text=moves, follows=latest.id)
    else:
        blocked = f"{moves}: end it first (bascule rollout {latest.ending_order} {wanted.model})"
        yield Difference(model=wanted.model, text=told, blocked=blocked)


def _blocked(wanted: WantedModel, seen: Seen, latest: Rollout | None, *, retry: bool) -> str:
    known = seen.versions.get(wanted.model, frozenset())
    if wanted.version not in known:
        has = f"it has {', '.join(map(str, sorted(known)))}" if known else "nothing was pushed"
        return f"{wanted.model}:{wanted.version} is not there: {has}"
    if latest is None or retry:
        return ""
    has_failed = latest.to_version == wanted.version and latest.state is not RolloutState.COMPLETE
    is_undone = latest.plan.strategy is Strategy.ROLLBACK and latest.from_version == wanted.version
    if not has_failed and not is_undone:
        return ""
    why = latest.note or latest.reason or "no reason was given"
    what = "took its traffic away" if is_undone else f"ended {latest.state}"
    return f"rollout {latest.id} {what} ({why}): start it again with --retry"


def _way(wanted: WantedModel) -> str:
    steps = f" {', '.join(wanted.steps)}" if wanted.steps else ""
    return f"{wanted.strategy}{steps}"
