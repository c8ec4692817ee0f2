"""What workers say of where they run becomes issues, and issues become events: once each."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from runtimes.facts import NodeFacts
from serving.edge.routes import WorkerAddress
from serving.events.outbox_book import OutboxBook
from serving.ids import VersionKey
from serving.monitor.environment.records import Condition, GpuError, IssueKind, Surroundings
from serving.monitor.environment.telling import Entry, State, entry_of
from serving.registry.environment import environment_of, fingerprint
from serving.registry.environment_history import environment_events
from serving.registry.store import Registry
from serving.registry.version import VersionState
from serving.rollout.desired import Desired
from serving.rollout.environment_book import EnvironmentBook
from serving.rollout.memory import Observed
from serving.rollout.placed_file import PlacedFile
from serving.rollout.ports import HostedVersion, WorkerState
from tests.fakes.cluster import served_version, version_spec
from tests.fakes.node_facts import CPU_NODE, T4_NODE

A1, B1 = VersionKey("a", 1), VersionKey("b", 1)
SPECS = {key: version_spec(key, format="onnx") for key in (A1, B1)}
WANTED = Desired(versions=SPECS)
NEWER = replace(CPU_NODE, packages={**CPU_NODE.packages, "numpy": "2.4.6"})
OTHER_CPU = replace(CPU_NODE, cpu_model="EPYC")
BUSY = Condition(name="cpu_pressure", before="3%", after="80%")


def worker(
    name: str,
    facts: NodeFacts | None = CPU_NODE,
    *keys: VersionKey,
    around: Surroundings | None = None,
    threads: int = 1,
) -> WorkerState:
    """A worker that serves versions, with the fingerprints that they have there."""
    hosted = {}
    for key in keys or (A1,):
        shown = (
            ""
            if facts is None
            else fingerprint(environment_of(facts, format_name="onnx", threads=threads), "onnx")
        )
        served = replace(served_version(), threads=threads, fingerprint=shown)
        hosted[key] = HostedVersion(
            state=VersionState.READY, digest=SPECS[key].digest, served=served
        )
    return WorkerState(
        address=WorkerAddress(name, "here", f"/run/{name}.sock"),
        pool="p",
        pid=1,
        state="ready",
        versions=hosted,
        facts=facts,
        surroundings=around,
    )


def pool(*workers: WorkerState) -> Observed:
    """One pool."""
    return {"p": workers}


@dataclass
class Told:
    """A book over a registry, and what it has told since the last question."""

    home: Path
    registry: Registry
    book: EnvironmentBook = field(init=False)
    count: int = 0

    def __post_init__(self) -> None:
        """Begin as an instance does."""
        self.start()

    def start(self) -> None:
        """Start again, with what files and catalog hold."""
        self.book = EnvironmentBook(OutboxBook(self.registry), PlacedFile(self.home / "seen.json"))

    def look(self, *workers: WorkerState) -> list[Entry]:
        """Look once; return what was told."""
        self.book.look(WANTED, pool(*workers))
        found = environment_events(self.registry)[self.count :]
        self.count += len(found)
        return [entry for event in found if (entry := entry_of(event)) is not None]


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    """A book that knows of nothing."""
    with Registry(tmp_path) as registry:
        yield Told(tmp_path, registry)


def test_where_nothing_changes_nothing_is_told(told: Told) -> None:
    """However often it is looked at."""
    assert [told.look(worker("w0"), worker("w1")) for _ in range(3)] == [[], [], []]
    assert told.book.standing == ()


def test_a_library_that_changed_under_workers_is_one_issue(told: Told) -> None:
    """Of all workers and versions that it concerns; a version more is no news; then it is over."""
    around = Surroundings(facts=NEWER)
    told.look(worker("w0"))

    (begun,) = told.look(worker("w0", around=around), worker("w1", CPU_NODE, B1, around=around))
    again = told.look(worker("w0", CPU_NODE, A1, B1, around=around))
    (ended,) = told.look(worker("w0"))

    assert (begun.kind, begun.state) == (IssueKind.UNDER_WORKER, State.BEGUN)
    assert (begun.workers, begun.versions) == (("w0", "w1"), ("a/1", "b/1"))
    assert [str(one) for one in begun.changes] == ["numpy 2.4.0 → 2.4.6"]
    assert (again, ended.state) == ([], State.ENDED)


def test_a_version_that_runs_elsewhere_than_before_is_told_after_a_restart(told: Told) -> None:
    """Once, with what changed; where it runs now is what the next start is compared with."""
    told.look(worker("w0"))
    told.start()

    (noted,) = told.look(worker("w0", NEWER, A1, B1))
    told.start()

    assert (noted.kind, noted.state) == (IssueKind.BETWEEN_STARTS, State.NOTED)
    assert noted.versions == ("a/1",)
    assert "numpy 2.4.0 → 2.4.6" in noted.reason
    assert told.look(worker("w0", NEWER, A1, B1)) == []


def test_replicas_that_differ_are_told_by_the_field(told: Told) -> None:
    """The one that differs from most is named; while they do, nothing else is told of them."""
    told.look(worker("w0"), worker("w1"))

    (begun,) = told.look(worker("w0"), worker("w1"), worker("w2", NEWER))
    (ended,) = told.look(worker("w0"), worker("w1"))

    assert (begun.kind, begun.workers) == (IssueKind.REPLICAS_DIFFER, ("w2",))
    assert [str(one) for one in begun.changes] == ["numpy 2.4.0 → 2.4.6"]
    assert ended.state is State.ENDED


def test_another_number_of_threads_differs_and_is_no_move(told: Told) -> None:
    """It can change a result; it is the operator's wish, so a start with another one is none."""
    (begun,) = told.look(worker("w0"), worker("w1", threads=4))
    told.start()

    assert [str(one) for one in begun.changes] == ["threads 1 → 4"]
    assert told.look(worker("w1", threads=4)) == []


def test_a_nodes_load_is_told_of_the_node(told: Told) -> None:
    """With figures of its beginning; later figures are nothing new."""
    around = Surroundings(conditions=(BUSY,))
    later = Surroundings(conditions=(replace(BUSY, after="90%"),))

    (begun,) = told.look(worker("w0", around=around), worker("w1", CPU_NODE, B1, around=around))
    again = told.look(worker("w0", around=later))

    assert begun.reason == "cpu_pressure 3% → 80% on here: w0, w1 are slowed down"
    assert again == []
    assert told.book.counts["condition"] == 1


def test_a_gpus_condition_is_of_those_who_compute_on_it(told: Told) -> None:
    """The neighbours on the CPU do not suffer."""
    slow = replace(BUSY, name="gpu_throttling", subject=T4_NODE.gpus[0].uuid)
    around = Surroundings(conditions=(slow,))

    (begun,) = told.look(worker("w0", around=around), worker("w1", T4_NODE, B1, around=around))

    assert begun.workers == ("w1",)
    assert slow.subject in begun.reason


def test_an_error_of_a_gpu_is_told_once_for_each_time(told: Told) -> None:
    """However many supervisors have heard it; with those who compute there."""
    uuid = T4_NODE.gpus[0].uuid
    error = GpuError(uuid=uuid, xid=79, text="Xid 79 (gone)", is_fatal=True, count=1)
    around = Surroundings(gpu_errors=(error,))
    again = Surroundings(gpu_errors=(replace(error, count=3),))

    (first,) = told.look(worker("w0", around=around), worker("w1", T4_NODE, B1, around=around))
    nothing = told.look(worker("w0", around=around))
    (more,) = told.look(worker("w0", around=again))

    assert (first.kind, first.state, first.workers) == (
        IssueKind.GPU_ERROR,
        State.NOTED,
        ("w1",),
    )
    assert first.reason == f"{uuid} on here reported Xid 79 (gone) 0 → 1: w1 computed on it"
    assert (nothing, more.changes[0].before, more.changes[0].after) == ([], "1", "3")


def test_a_worker_that_says_nothing_yet_has_no_environment(told: Told) -> None:
    """Nor has a version that nobody wants."""
    assert told.look(worker("w0", None)) == []


def test_history_is_read_by_model(told: Told) -> None:
    """An event that concerns several is in the history of each."""
    around = Surroundings(facts=NEWER)
    told.look(worker("w0", CPU_NODE, A1, around=around))
    told.look(worker("w0", CPU_NODE, A1, B1, around=replace(around, facts=OTHER_CPU)))
    events = environment_events(told.registry)

    counts = [len([1 for one in events if entry_of(one, model)]) for model in ("a", "b", "c")]

    assert counts == [len(events), 1, 0]
