"""The controller over a cluster, edges, a registry and a folder in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from runtimes.contract import TensorSpec
from runtimes.datatypes import Datatype
from runtimes.errors import InvalidArgumentError, ModelLoadError
from serving.clock import SystemClock
from serving.edge.control import Asked, LoadOverride
from serving.errors import DrainingError, IncompatibleError, NotFoundError, NotReadyError
from serving.ids import VersionKey
from serving.registry.repository import FailedVersion, ModelScan
from serving.registry.version import ServingPolicy, VersionSpec, VersionState
from serving.rollout.controller import Controller
from serving.rollout.driven import Ports
from serving.rollout.sources import Selection, Sources
from serving.settings import load_settings
from tests.fakes.cluster import FakeCluster, FakeEdges, version_spec
from tests.fakes.sources import FakeFolder, FakeRegistry

pytestmark = pytest.mark.anyio

A1, A2, B1 = VersionKey("a", 1), VersionKey("a", 2), VersionKey("b", 1)


@dataclass
class Instance:
    """A controller and what it drives."""

    folder: FakeFolder = field(default_factory=FakeFolder)
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    selection: Selection = field(default_factory=Selection)
    cluster: FakeCluster = field(default_factory=lambda: FakeCluster(is_automatic=True))
    edges_of: Callable[[FakeCluster], FakeEdges] = FakeEdges
    controller: Controller = field(init=False)

    def __post_init__(self) -> None:
        ports = Ports(
            cluster=self.cluster,
            edges=self.edges_of(self.cluster),
            sources=Sources(self.registry, self.folder, self.selection),
            clock=SystemClock(),
        )
        settings = replace(load_settings(home=Path("/home/somebody")), repository_poll_s=0.01)
        self.controller = Controller(ports, settings, mode="standalone")

    def state(self, key: VersionKey) -> VersionState | None:
        """The state that is published."""
        record = self.controller.loop.snapshot.versions.get(key)
        return None if record is None else record.state

    def live(self, model: str) -> int | None:
        """The version that is live."""
        return self.controller.loop.snapshot.routes.live[model].version

    async def until_settled(self) -> None:
        """Wait until nothing is on its way."""
        loop = self.controller.loop
        await loop.until(lambda: loop.is_settled)


@asynccontextmanager
async def running(instance: Instance) -> AsyncIterator[Instance]:
    """Let an instance work, from the moment when it has settled."""
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        await instance.controller.loop.start()
        loop = group.create_task(instance.controller.loop.run())
        await asyncio.sleep(0)
        await instance.until_settled()
        yield instance
        loop.cancel()


def explicit(*specs: VersionKey, load: tuple[str, ...] = ()) -> Instance:
    """An instance in explicit mode over a folder."""
    folder = FakeFolder(*(version_spec(key) for key in specs))
    return Instance(folder=folder, selection=Selection(mode="explicit", load_model=load))


async def test_all_of_a_folder_is_loaded() -> None:
    """Without a control mode every model of the repository is served."""
    async with running(Instance(folder=FakeFolder(version_spec(A1), version_spec(B1)))) as it:
        assert it.controller.loop.snapshot.ready


async def test_explicit_mode_loads_what_is_named() -> None:
    """In explicit mode only models named at start are loaded; the others are known."""
    async with running(explicit(A1, B1, load=("a",))) as it:
        assert it.state(A1) is VersionState.READY
        assert it.state(B1) is None
        assert "b" in it.controller.loop.snapshot.known_models


async def test_a_missing_model_named_at_start_is_told() -> None:
    """A model named at start that does not exist makes the server not ready, with the reason."""
    async with running(explicit(A1, load=("a", "nothing"))) as it:
        snapshot = it.controller.loop.snapshot
        assert not snapshot.ready
        assert "not found" in snapshot.versions[VersionKey("nothing", 0)].reason


async def test_load_and_unload() -> None:
    """A load returns when the model is served, an unload when it is not any more."""
    async with running(explicit(A1)) as it:
        await it.controller.load("a")
        assert it.state(A1) is VersionState.READY
        await it.controller.unload("a")
        assert it.state(A1) is not VersionState.READY
        assert it.live("a") is None
        await it.until_settled()
        assert it.controller.loop.snapshot.versions[A1].reason == "unloaded"


async def test_a_load_is_refused_when_control_is_off() -> None:
    """Outside explicit mode load and unload are refused in Triton's words."""
    async with running(Instance(folder=FakeFolder(version_spec(A1)))) as it:
        with pytest.raises(NotReadyError, match="explicit model load / unload is not allowed"):
            await it.controller.load("a")
        with pytest.raises(NotReadyError, match=r"the mode is none; .*-mode explicit"):
            await it.controller.unload("a")


@pytest.mark.parametrize("word", ["load", "unload"])
async def test_clients_load_and_unload_no_model_of_the_registry(word: str) -> None:
    """The refusal says whose it is and which command it takes; the model stays."""
    registry = FakeRegistry(version_spec(B1, origin="registry /models"))
    async with running(Instance(registry=registry, selection=Selection(mode="explicit"))) as it:
        with pytest.raises(InvalidArgumentError, match=r"registry \(b:1\).*bascule unload b"):
            await getattr(it.controller, word)("b")
        assert it.state(B1) is VersionState.READY


async def test_loading_an_unknown_model_says_so() -> None:
    """A name that the repository does not have is refused in Triton's words."""
    async with running(explicit(A1)) as it:
        with pytest.raises(NotFoundError, match="failed to load 'x', failed to poll from model"):
            await it.controller.load("x")


async def test_loading_a_model_without_versions_says_so() -> None:
    """A model without any version is refused in Triton's words."""
    async with running(explicit(A1)) as it:
        it.folder.put(ModelScan(model="empty", reason="it holds no version"))
        with pytest.raises(InvalidArgumentError, match="failed to load 'empty', no version is av"):
            await it.controller.load("empty")


async def test_a_failed_load_tells_the_reason_and_leaves_no_trace() -> None:
    """The reason is in the error and in the index; the server stays ready."""
    async with running(explicit(A1)) as it:
        it.cluster.broken = {"1"}
        with pytest.raises(
            ModelLoadError, match=r"failed to load 'a'.*version 1 is at UNAVAIL.*bad"
        ):
            await it.controller.load("a")
        assert it.controller.loop.snapshot.versions[A1].reason == "bad file"
        assert it.controller.loop.snapshot.ready
        it.cluster.broken = set()
        await it.controller.load("a")
        assert it.state(A1) is VersionState.READY


async def test_a_failed_reload_keeps_the_former_version() -> None:
    """A reload that a worker refuses raises, and the former version goes on serving."""
    async with running(explicit(A1, load=("a",))) as it:
        it.cluster.broken = {"bad"}
        it.folder.put(ModelScan(model="a", versions=(version_spec(A1, "bad"),)))
        with pytest.raises(ModelLoadError, match="bad file"):
            await it.controller.load("a")
        assert it.state(A1) is VersionState.READY


async def test_an_unreadable_reload_keeps_the_former_version() -> None:
    """A reload that cannot even be read raises, and the former version goes on serving."""
    async with running(explicit(A1, load=("a",))) as it:
        broken = FailedVersion(model="a", version=1, reason="config.pbtxt: line 1")
        it.folder.put(ModelScan(model="a", failed=(broken,)))
        with pytest.raises(ModelLoadError, match=r"config\.pbtxt: line 1"):
            await it.controller.load("a")
        assert it.state(A1) is VersionState.READY


async def test_an_override_lives_until_the_next_load() -> None:
    """What a request brings is served in place of the folder; a load without brings it back."""
    async with running(explicit(A1, load=("a",))) as it:
        other = version_spec(A1, "other")
        it.folder.overrides["{}"] = ModelScan(model="a", versions=(other,))

        await it.controller.load("a", LoadOverride(config="{}"))
        overridden = it.controller.loop.desired.versions[A1]
        await it.controller.load("a")

        assert overridden == other
        assert it.controller.loop.desired.versions[A1] == version_spec(A1)


async def test_a_failed_override_is_wanted_no_more() -> None:
    """The model is as it was, wants nothing else, and the override's files may go."""
    async with running(explicit(A1, load=("a",))) as it:
        it.cluster.broken = {"bad"}
        it.folder.overrides["{}"] = ModelScan(model="a", versions=(version_spec(A1, "bad"),))

        with pytest.raises(ModelLoadError, match="bad file"):
            await it.controller.load("a", LoadOverride(config="{}"))

        assert it.state(A1) is VersionState.READY
        assert it.controller.loop.desired.versions[A1] == version_spec(A1)
        assert it.folder.kept == (version_spec(A1),)


async def test_poll_mode_follows_the_folder() -> None:
    """A new version in a polled repository is loaded and becomes live."""
    it = Instance(folder=FakeFolder(version_spec(A1)), selection=Selection(mode="poll"))
    async with running(it):
        it.folder.put(ModelScan(model="a", versions=(version_spec(A1), version_spec(A2))))
        await it.controller.loop.until(lambda: it.live("a") == 2)


async def test_promote_swings_and_is_remembered() -> None:
    """A promotion returns when every edge obeys it, and is stored."""
    async with running(Instance(registry=FakeRegistry(version_spec(A1), version_spec(A2)))) as it:
        assert it.live("a") == 2
        revision = await it.controller.promote("a", 1)
        assert it.live("a") == 1
        assert it.registry.pins == {"a": 1}
        assert revision == it.controller.loop.snapshot.routes.revision


async def test_a_version_that_is_not_ready_cannot_be_promoted() -> None:
    """The refusal names the state and the reason; the live version stays."""
    registry = FakeRegistry(version_spec(A1), version_spec(A2, "bad"))
    it = Instance(registry=registry)
    it.cluster.broken = {"bad"}
    async with running(it):
        with pytest.raises(NotReadyError, match=r"a:2 is UNAVAILABLE \(bad file\).*stays 1"):
            await it.controller.promote("a", 2)
        assert registry.pins == {}


async def test_a_version_whose_worker_is_silent_cannot_be_promoted() -> None:
    """It answers calls as before; nobody moves more to a worker that may be gone."""
    it = Instance(registry=FakeRegistry(version_spec(A1), version_spec(A2)))
    async with running(it):
        it.cluster.is_automatic = False
        it.cluster.pools["s1"][0].state = "silent"
        with pytest.raises(NotReadyError, match=r"a:1 is LOADING.*stays 2"):
            await it.controller.promote("a", 1)
        assert it.registry.pins == {}


async def test_a_version_that_was_taken_out_is_told_how_it_comes_back() -> None:
    """A promotion of what an operator unloaded from the repository says when it is loaded again."""
    async with running(Instance(folder=FakeFolder(version_spec(A1), version_spec(A2)))) as it:
        await it.controller.retire("a", 2)
        with pytest.raises(NotReadyError, match=r"bascule unload.*stays 1.*next start"):
            await it.controller.promote("a", 2)
        assert it.registry.pins == {}


@pytest.mark.parametrize(("model", "words"), [("a", "version 9 is not found"), ("x", "not found")])
async def test_an_unknown_version_cannot_be_promoted(model: str, words: str) -> None:
    """The refusal says what does not exist."""
    async with running(Instance(registry=FakeRegistry(version_spec(A1)))) as it:
        with pytest.raises(NotFoundError, match=words):
            await it.controller.promote(model, 9)


async def test_retire_in_every_mode() -> None:
    """An operator's unload works for repository and registry models, and says if there is none."""
    it = Instance(folder=FakeFolder(version_spec(A1)), registry=FakeRegistry(version_spec(B1)))
    async with running(it):
        await it.controller.retire("a", None)
        await it.controller.retire("b", 1)
        assert it.live("a") is None
        assert it.registry.specs == {}
        with pytest.raises(NotFoundError):
            await it.controller.retire("a", None)


async def test_sync_reads_everything_again() -> None:
    """After a sync new versions of both sources are served."""
    async with running(Instance(selection=Selection(mode="poll"))) as it:
        it.folder.put(ModelScan(model="a", versions=(version_spec(A1),)))
        it.registry.specs[B1] = version_spec(B1)
        await it.controller.sync()
        assert (it.state(A1), it.state(B1)) == (VersionState.READY, VersionState.READY)


async def test_in_mode_none_the_repository_is_read_once() -> None:
    """A sync serves what was pushed; folders that changed, came or went wait for a restart."""
    async with running(Instance(folder=FakeFolder(version_spec(A1)))) as it:
        del it.folder.scans["a"]
        it.folder.put(ModelScan(model="c", reason="it is half made"))
        it.registry.specs[B1] = version_spec(B1)
        await it.controller.sync()
        assert (it.state(A1), it.state(B1)) == (VersionState.READY, VersionState.READY)
        assert it.controller.loop.snapshot.ready


async def test_status_shows_all_parts() -> None:
    """Status has versions, workers and edges."""
    async with running(Instance(folder=FakeFolder(version_spec(A1)))) as it:
        status = await it.controller.status()
        assert [worker.worker for worker in status.workers] == ["s1-0"]
        assert status.live == {"a": 1}
        assert status.edges[0].revision == status.revision


async def test_a_caller_that_leaves_stops_nothing() -> None:
    """A load whose caller gives up is carried out all the same."""
    async with running(explicit(A1)) as it, asyncio.TaskGroup() as group:
        caller = group.create_task(it.controller.load("a"))
        await asyncio.sleep(0)
        caller.cancel()
        await it.controller.loop.until(lambda: it.state(A1) is VersionState.READY)


async def test_nobody_waits_for_a_loop_that_has_ended() -> None:
    """Who asks an instance that is stopping is told so."""
    async with running(Instance()) as it:
        pass
    with pytest.raises(DrainingError, match="stopping"):
        await it.controller.sync()


async def test_a_change_that_waits_for_the_start_is_made() -> None:
    """Who was told that the controller runs is not told that it stops."""
    it, has_started = explicit(A1), asyncio.Event()
    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        await it.controller.loop.start()

        async def wait_and_load() -> None:
            await has_started.wait()
            await it.controller.load("a")

        caller = group.create_task(wait_and_load())
        await asyncio.sleep(0)
        running = group.create_task(it.controller.run(on_running=has_started.set))
        await caller
        running.cancel()
    assert it.state(A1) is VersionState.READY


async def test_a_change_under_way_is_told_of_the_end() -> None:
    """A load that waits for a worker is told when the instance stops."""
    it = explicit(A1)
    async with asyncio.TaskGroup() as group:
        await it.controller.loop.start()
        loop = group.create_task(it.controller.loop.run())
        await asyncio.sleep(0)
        it.cluster.is_automatic = False
        caller = group.create_task(refused_load(it))
        await it.controller.loop.until(lambda: A1 in it.controller.loop.desired.versions)
        loop.cancel()
    assert "stopping" in caller.result()


async def refused_load(it: Instance) -> str:
    """Load a model; return the words of the refusal."""
    with pytest.raises(DrainingError) as refusal:
        await it.controller.load("a")
    return refusal.value.message


def asking(key: VersionKey, name: str) -> VersionSpec:
    """A version with one input of that name."""
    tensor = TensorSpec(name=name, datatype=Datatype.FP32, shape=(4,))
    return version_spec(key, policy=ServingPolicy(inputs=(tensor,)))


async def test_a_promotion_that_breaks_callers_is_refused() -> None:
    """A renamed input stops the promotion, says so, and the live version stays."""
    registry = FakeRegistry(asking(A1, "x"), asking(A2, "y"))
    registry.pins["a"] = 1
    async with running(Instance(registry=registry)) as it:
        with pytest.raises(IncompatibleError, match=r"a:2 would break.*'x' is called 'y' now"):
            await it.controller.promote("a", 2)
        assert (it.live("a"), registry.told) == (1, [])


async def test_a_forced_promotion_is_told_to_the_registry() -> None:
    """Forced, it takes place; who, why and what broke reach the registry."""
    registry = FakeRegistry(asking(A1, "x"), asking(A2, "y"))
    registry.pins["a"] = 1
    asked = Asked(who="ann", reason="all clients send y", is_forced=True)
    async with running(Instance(registry=registry)) as it:
        await it.controller.promote("a", 2, asked)
        assert it.live("a") == 2
    assert registry.told == [("ann", "all clients send y", "forced: input 'x' is called 'y' now")]
