"""Pure: an issue of an environment in words, as an event, and back from one."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from serving.monitor.environment.records import Issue, IssueKind
from serving.registry.announcing.outbox import Announcement, OutboxEvent
from serving.registry.environment import Change

KIND: Final = "env.changed"
AUDIENCE: Final = "infra"
WHO: Final = "bascule"
SHOWN_NAMES: Final = 3


class State(StrEnum):
    """Whether an issue has begun, ended, or was a change of one moment."""

    BEGUN = "begun"
    ENDED = "ended"
    NOTED = "noted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of an environment's history."""

    at_utc: datetime
    state: State
    kind: IssueKind
    node: str
    changes: tuple[Change, ...]
    workers: tuple[str, ...]
    versions: tuple[str, ...]
    reason: str


def announcement(issue: Issue, state: State) -> Announcement:
    """Return the event that tells of an issue.

    It is about the version that it concerns; about the node, if it concerns several.
    """
    is_of_node = issue.kind in {IssueKind.CONDITION, IssueKind.GPU_ERROR}
    is_of_one = len(issue.versions) == 1 and not is_of_node
    return Announcement(
        kind=KIND,
        subject=issue.versions[0] if is_of_one else f"node:{issue.node}",
        data={
            "kind": issue.kind.value,
            "state": state.value,
            "audience": AUDIENCE,
            "node": issue.node,
            "gpu": issue.subject,
            "changes": [
                {"field": one.field, "before": one.before, "after": one.after}
                for one in issue.changes
            ],
            "workers": list(issue.workers),
            "versions": list(issue.versions),
            "who": WHO,
            "reason": sentence(issue, state),
        },
    )


def sentence(issue: Issue, state: State = State.BEGUN) -> str:
    """Say what happened and what to do, in one sentence."""
    changes = ", ".join(map(str, issue.changes))
    if state is State.ENDED:
        return f"over on {issue.node}: {_ended(issue, changes)}"
    return _BEGUN[issue.kind](issue, changes)


def entry_of(event: OutboxEvent, model: str | None = None) -> Entry | None:
    """Read an event back; None: it tells of no environment, or not of that model's."""
    data = json.loads(event.data)
    if not event.type.endswith(f".{KIND}.v1") or not _concerns(data, event.subject, model):
        return None
    return Entry(
        at_utc=event.at_utc,
        state=State(data["state"]),
        kind=IssueKind(data["kind"]),
        node=str(data.get("node", "")),
        changes=tuple(Change(**one) for one in data.get("changes", ())),
        workers=tuple(data.get("workers", ())),
        versions=tuple(data.get("versions", ())),
        reason=str(data.get("reason", "")),
    )


def _concerns(data: Mapping[str, object], subject: str, model: str | None) -> bool:
    versions = data.get("versions")
    if model is None or not isinstance(versions, list):  # a list that was too long concerns all
        return True
    return any(str(one).rpartition("/")[0] == model for one in (*versions, subject))


def _under_worker(issue: Issue, changes: str) -> str:
    return (
        f"{changes} on {issue.node}, under {_names(issue.workers)}: a worker that starts now "
        "computes with it; restart the instance, or put it back"
    )


def _between_starts(issue: Issue, changes: str) -> str:
    return f"{changes} on {issue.node} since {_names(issue.versions)} ran last"


def _replicas_differ(issue: Issue, changes: str) -> str:
    return (
        f"replicas of {_names(issue.versions)} differ: {changes} in {_names(issue.workers)} on "
        f"{issue.node}: answers may depend on who gives them"
    )


def _condition(issue: Issue, changes: str) -> str:
    gpu = f" of {issue.subject}" if issue.subject else ""
    return f"{changes}{gpu} on {issue.node}: {_names(issue.workers)} are slowed down"


def _gpu_error(issue: Issue, changes: str) -> str:
    hit = f": {_names(issue.workers)} computed on it" if issue.workers else ""
    return f"{issue.subject} on {issue.node} reported {changes}{hit}"


_BEGUN: Final[Mapping[IssueKind, Callable[[Issue, str], str]]] = MappingProxyType(
    {
        IssueKind.UNDER_WORKER: _under_worker,
        IssueKind.BETWEEN_STARTS: _between_starts,
        IssueKind.REPLICAS_DIFFER: _replicas_differ,
        IssueKind.CONDITION: _condition,
        IssueKind.GPU_ERROR: _gpu_error,
    }
)


def _ended(issue: Issue, changes: str) -> str:
    if issue.kind is IssueKind.UNDER_WORKER:
        return f"no worker runs with what was replaced any more ({changes})"
    if issue.kind is IssueKind.REPLICAS_DIFFER:
        return f"replicas of {_names(issue.versions)} agree again ({changes})"
    return ", ".join(one.field for one in issue.changes)


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:SHOWN_NAMES]) or "no worker"
    more = len(names) - SHOWN_NAMES
    return f"{shown} and {more} more" if more > 0 else shown
