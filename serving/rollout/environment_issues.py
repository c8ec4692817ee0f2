"""Pure: what workers say of where they run → what is wrong with it, and what has changed.

Workers whose trouble is the same are one issue: a library that is replaced under a thousand models
is told once.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from runtimes.devices import device
from runtimes.facts import NodeFacts
from serving.ids import VersionKey
from serving.monitor.environment.records import Condition, Issue, IssueKind
from serving.registry.environment import (
    Change,
    Environment,
    differences,
    environment_of,
    fingerprint,
)
from serving.registry.version import VersionSpec, VersionState
from serving.rollout.memory import Observed
from serving.rollout.ports import WorkerState

SHOWN_DIGITS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A version as one worker runs it."""

    key: VersionKey
    digest: str
    format: str
    fingerprint: str
    worker: str
    node: str
    environment: Environment
    """With the threads of its engine."""
    now: Environment | None
    """As it would be if the worker started now; None: the same."""

    @property
    def place(self) -> Environment:
        """Where it runs, without the threads: those are the operator's wish."""
        return replace(self.environment, threads=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A version that runs where it did not run before."""

    running: Running
    changes: tuple[Change, ...]


def running_versions(wanted: Mapping[VersionKey, VersionSpec], observed: Observed) -> list[Running]:
    """Return every version that a worker serves, for each worker, in its newest form."""
    return [
        found
        for workers in observed.values()
        for worker in workers
        if worker.facts is not None
        for found in _of_worker(worker, worker.facts, wanted)
    ]


def standing_issues(running: Iterable[Running], observed: Observed) -> tuple[Issue, ...]:
    """Return what is wrong at this moment."""
    found = list(running)
    each = (*_under_workers(found), *_differing(found), *_conditions(observed, found))
    merged: dict[tuple[object, ...], Issue] = {}
    for one in each:
        there = merged.get(one.key)
        merged[one.key] = one if there is None else _joined(there, one)
    return tuple(merged.values())


def most_common(running: Iterable[Running]) -> dict[VersionKey, Running]:
    """Return one of the replicas that agree, of each version."""
    replicas: defaultdict[VersionKey, list[Running]] = defaultdict(list)
    for one in running:
        replicas[one.key].append(one)
    return {key: _commonest(some) for key, some in replicas.items()}


def moved(before: Environment, replicas: Iterable[Running]) -> Moved | None:
    """Say whether a version left the environment that it was seen in last; None: not all have.

    Args:
        before: Where it was seen last, without threads.
        replicas: As its workers run it now; one at least.
    """
    some = list(replicas)
    formats = some[0].format
    known = fingerprint(before, formats)
    if any(fingerprint(one.place, formats) == known for one in some):
        return None
    common = _commonest(some)
    return Moved(running=common, changes=_that_matter(before, common.place, formats))


def between_starts(found: Iterable[Moved]) -> tuple[Issue, ...]:
    """Return what has changed since versions ran last, equal changes together."""
    merged: dict[tuple[object, ...], Issue] = {}
    for one in found:
        issue = _issue(IssueKind.BETWEEN_STARTS, one.running, one.changes)
        there = merged.get(issue.key)
        merged[issue.key] = issue if there is None else _joined(there, issue)
    return tuple(merged.values())


def gpu_errors(
    observed: Observed, known: Mapping[tuple[str, str, int], int]
) -> tuple[dict[tuple[str, str, int], int], tuple[Issue, ...]]:
    """Return how often each error was heard of, and what is new of it.

    Args:
        observed: What supervisors have heard; several on one node have heard the same.
        known: The counts before, by node, UUID and number.
    """
    counts = dict(known)
    texts: dict[tuple[str, str, int], str] = {}
    workers = [one for some in observed.values() for one in some]
    for worker in workers:
        around = worker.surroundings
        for error in around.gpu_errors if around is not None else ():
            key = (worker.address.node, error.uuid, error.xid)
            texts[key] = error.text
            counts[key] = max(counts.get(key, 0), error.count)
    found = [
        _gpu_issue(key, text, (known.get(key, 0), counts[key]), workers)
        for key, text in texts.items()
        if counts[key] > known.get(key, 0)
    ]
    return counts, tuple(found)


def _gpu_issue(
    key: tuple[str, str, int], text: str, counts: tuple[int, int], workers: list[WorkerState]
) -> Issue:
    node, uuid, _ = key
    hit = [one for one in workers if one.address.node == node and _computes_on(one, uuid)]
    change = Change(field=text, before=str(counts[0]), after=str(counts[1]), matters=False)
    return Issue(
        kind=IssueKind.GPU_ERROR,
        node=node,
        subject=uuid,
        changes=(change,),
        workers=tuple(sorted(one.address.worker for one in hit)),
        versions=tuple(sorted({_name(key) for one in hit for key in one.versions})),
    )


def _computes_on(worker: WorkerState, uuid: str) -> bool:
    gpus = worker.facts.gpus if worker.facts is not None else ()
    return any(gpu.uuid == uuid for gpu in gpus)


def _of_worker(
    worker: WorkerState, facts: NodeFacts, wanted: Mapping[VersionKey, VersionSpec]
) -> Iterator[Running]:
    newer = worker.surroundings.facts if worker.surroundings is not None else None
    known: dict[tuple[str, str, int], tuple[Environment, Environment | None]] = {}
    for key, said in worker.versions.items():
        spec, served = wanted.get(key), said.served
        is_newest = spec is not None and said.digest == spec.digest
        if spec is None or served is None or not is_newest or said.state is not VersionState.READY:
            continue
        asked = (spec.format, served.device, served.threads)
        if asked not in known:
            known[asked] = (
                _environment(facts, *asked),
                None if newer is None else _environment(newer, *asked),
            )
        yield Running(
            key=key,
            digest=said.digest,
            format=spec.format,
            fingerprint=served.fingerprint,
            worker=worker.address.worker,
            node=worker.address.node,
            environment=known[asked][0],
            now=known[asked][1],
        )


def _environment(facts: NodeFacts, format_name: str, where: str, threads: int) -> Environment:
    return environment_of(facts, format_name=format_name, threads=threads, device=device(where))


def _under_workers(running: Iterable[Running]) -> Iterator[Issue]:
    for one in running:
        if one.now is not None:
            changes = _that_matter(one.environment, one.now, one.format)
            if changes:
                yield _issue(IssueKind.UNDER_WORKER, one, changes)


def _differing(running: Iterable[Running]) -> Iterator[Issue]:
    replicas: defaultdict[VersionKey, list[Running]] = defaultdict(list)
    for one in running:
        if one.fingerprint:
            replicas[one.key].append(one)
    for some in replicas.values():
        common = _commonest(some)
        for one in some:
            if one.fingerprint != common.fingerprint:
                changes = _that_matter(common.environment, one.environment, one.format)
                yield _issue(IssueKind.REPLICAS_DIFFER, one, changes or (_prints(common, one),))


def _conditions(observed: Observed, running: Iterable[Running]) -> Iterator[Issue]:
    hosted: defaultdict[str, set[str]] = defaultdict(set)
    for one in running:
        hosted[one.worker].add(_name(one.key))
    for worker in chain.from_iterable(observed.values()):
        around = worker.surroundings
        for condition in around.conditions if around is not None else ():
            if _concerns(condition, worker):
                yield Issue(
                    kind=IssueKind.CONDITION,
                    node=worker.address.node,
                    subject=condition.subject,
                    changes=(_change(condition),),
                    workers=(worker.address.worker,),
                    versions=tuple(sorted(hosted[worker.address.worker])),
                )


def _concerns(condition: Condition, worker: WorkerState) -> bool:
    """Whether a worker suffers: a GPU's condition is of those that compute on it."""
    return not condition.subject or _computes_on(worker, condition.subject)


def _change(condition: Condition) -> Change:
    return Change(
        field=condition.name, before=condition.before, after=condition.after, matters=False
    )


def _commonest(replicas: list[Running]) -> Running:
    """Return one of the largest group; of equal groups, the one whose fingerprint is less."""
    counts = Counter(one.fingerprint for one in replicas)
    return min(replicas, key=lambda one: (-counts[one.fingerprint], one.fingerprint, one.worker))


def _that_matter(before: Environment, after: Environment, format_name: str) -> tuple[Change, ...]:
    return tuple(one for one in differences(before, after, format_name) if one.matters)


def _prints(common: Running, odd: Running) -> Change:
    before, after = common.fingerprint[:SHOWN_DIGITS], odd.fingerprint[:SHOWN_DIGITS]
    return Change(field="fingerprint", before=before, after=after)


def _issue(kind: IssueKind, one: Running, changes: tuple[Change, ...]) -> Issue:
    return Issue(
        kind=kind,
        node=one.node,
        changes=changes,
        workers=(one.worker,),
        versions=(_name(one.key),),
    )


def _joined(one: Issue, other: Issue) -> Issue:
    return replace(
        one,
        workers=tuple(sorted({*one.workers, *other.workers})),
        versions=tuple(sorted({*one.versions, *other.versions})),
    )


def _name(key: VersionKey) -> str:
    return f"{key.model}/{key.version}"
