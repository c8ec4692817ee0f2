"""One watch sees for all workers of a node what changes around them."""

from dataclasses import dataclass, field, replace

from runtimes.gpu_probe import Nvml
from runtimes.node_load import LoadCounters
from runtimes.place import Place
from serving.rollout.host_watch import HostWatch, Senses, WorkerView, senses_for
from tests.fakes.node_facts import CPU_NODE

PYTHON = "/env/bin/python"


@dataclass
class Node:
    """A node that a test changes."""

    numpy: str = "2.4.0"
    stalled_us: int = 0
    now_s: float = 0.0
    asked: list[str] = field(default_factory=list)

    def load(self) -> LoadCounters:
        """What its kernel counts."""
        return LoadCounters(stalled_us={"cpu": self.stalled_us})

    def place(self, python: str, _: Nvml | None) -> Place:
        """What an interpreter finds there."""
        self.asked.append(python)
        return Place(
            cpu_model=CPU_NODE.cpu_model,
            cpu_flags=CPU_NODE.cpu_flags,
            packages={"numpy": self.numpy},
        )

    def monotonic_s(self) -> float:
        """Its clock."""
        return self.now_s

    def passes(self, watch: HostWatch, seconds: int, *, stalled_ratio: float = 0.0) -> None:
        """Let time pass, with a look every ten seconds."""
        for _ in range(seconds // 10):
            self.now_s += 10
            self.stalled_us += int(stalled_ratio * 10e6)
            watch.look()


def watched(node: Node) -> HostWatch:
    """A watch over it."""
    return HostWatch(node, senses=Senses(load=node.load, place=node.place))  # type: ignore[arg-type]


def test_a_library_that_is_replaced_is_seen_around_its_workers() -> None:
    """A worker that starts afterwards has loaded it: around that one, nothing has changed."""
    node = Node()
    watch = watched(node)
    old, new = WorkerView(watch), WorkerView(watch)
    old.around(PYTHON, CPU_NODE)
    watch.look()
    old.around(PYTHON, CPU_NODE)

    node.numpy = "2.4.6"
    watch.look()
    around = old.around(PYTHON, CPU_NODE)
    later = new.around(PYTHON, replace(CPU_NODE, packages={"numpy": "2.4.6"}))

    assert around is not None
    assert around.facts is not None
    assert around.facts.packages == {"numpy": "2.4.6"}
    assert later is not None
    assert later.facts is None


def test_a_worker_that_restarts_begins_anew() -> None:
    """What changed under the process before is no change under this one."""
    node = Node()
    watch = watched(node)
    view = WorkerView(watch)
    view.around(PYTHON, CPU_NODE)
    watch.look()
    view.around(PYTHON, CPU_NODE)
    node.numpy = "2.4.6"
    watch.look()

    view.around(PYTHON, None)
    around = view.around(PYTHON, replace(CPU_NODE, packages={"numpy": "2.4.6"}))

    assert around is not None
    assert around.facts is None


def test_each_interpreter_is_looked_at_once() -> None:
    """However many workers it has; one that no worker has is not looked at."""
    node = Node()
    watch = watched(node)
    views = [WorkerView(watch) for _ in range(5)]
    watch.look()
    for view in views:
        view.around(PYTHON, CPU_NODE)
    watch.look()

    assert node.asked == [PYTHON]


def test_pressure_that_lasts_is_around_every_worker() -> None:
    """Until it is over."""
    node = Node()
    watch = watched(node)
    watch.look()

    node.passes(watch, 60, stalled_ratio=0.9)
    (busy,) = watch.conditions
    node.passes(watch, 120)

    assert (busy.name, busy.after) == ("cpu_pressure", "90%")
    assert watch.conditions == ()


def test_without_a_watch_nobody_looks() -> None:
    """And a worker without GPUs has nobody ask for a driver."""
    assert WorkerView(None).around(PYTHON, CPU_NODE) is None
    assert senses_for("", "i").nvml is None
    assert senses_for("0", "i").nvml is not None
