"""Ensembles in the controller: what their steps mean, where they live, and what ends them."""

from dataclasses import dataclass
from typing import Self

import pytest

from serving.ids import VersionKey
from serving.registry.ensemble import LATEST, EnsembleStep
from serving.registry.repository import ModelScan
from serving.registry.version import Isolation, ServingPolicy, VersionSpec, VersionState
from serving.rollout.desired import Desired
from serving.rollout.ensembles import linked
from serving.rollout.memory import Limits, Memory
from serving.rollout.sources import Selection, Sources
from tests.fakes.cluster import version_spec
from tests.fakes.ensembles import step
from tests.fakes.sources import FakeFolder, FakeRegistry
from tests.fakes.world import World as PlainWorld

A1, A2, B1, C1 = (VersionKey(*key) for key in (("a", 1), ("a", 2), ("b", 1), ("c", 1)))
E1, F1 = VersionKey("e", 1), VersionKey("f", 1)
USUAL = Limits()


def ensemble(key: VersionKey, *models: str | tuple[str, int]) -> VersionSpec:
    """An ensemble over models in a row."""
    steps: list[EnsembleStep] = []
    for number, one in enumerate(models):
        model, version = one if isinstance(one, tuple) else (one, LATEST)
        steps.append(step(model, {"i": f"t{number}"}, {"o": f"t{number + 1}"}, version))
    policy = ServingPolicy(ensemble=tuple(steps))
    return version_spec(key, format="ensemble", size_bytes=0, policy=policy)


def wanted(*specs: VersionSpec, pinned: dict[str, int] | None = None) -> Desired:
    """Specs as what is wanted; other models exist as well."""
    return Desired(
        versions={spec.key: spec for spec in specs},
        pinned_live=pinned or {},
        known_models=frozenset({"a", "b", "c", "e", "f"}),
    )


@dataclass
class World(PlainWorld):
    """A controller around a fake cluster, asked about ensembles."""

    limits: Limits = USUAL

    def settled(self) -> Self:
        """Step until nothing happens any more."""
        self.settle()
        return self

    def pools(self, *keys: VersionKey) -> set[str | None]:
        """Where the edges send calls."""
        return {self.snapshot.routes.versions[key].pool for key in keys}

    def steps_of(self, key: VersionKey) -> list[VersionKey]:
        """The versions that an ensemble's worker was told."""
        spec = self.memory.pools[self.memory.placement[key]].versions[key]
        return [VersionKey(one.model, one.version) for one in spec.policy.ensemble]


def test_an_ensemble_and_its_models_share_a_pool_of_their_own() -> None:
    """Steps run in one worker process; others stay where they are."""
    world = World(
        desired=wanted(*map(version_spec, (A1, B1, C1)), ensemble(E1, "a", "b"))
    ).settled()
    assert world.snapshot.ready
    assert len(world.pools(A1, B1, E1)) == 1
    assert world.pools(C1) != world.pools(E1)
    assert world.snapshot.versions[A1].isolation == "with ensemble e"


def test_models_move_to_an_ensemble_that_comes_and_back_when_it_goes() -> None:
    """Without a moment in which one has no route: the fake edges refuse that."""
    world = World(desired=wanted(*map(version_spec, (A1, B1)))).settled()
    before = world.pools(A1, B1)
    world.desired = wanted(*map(version_spec, (A1, B1)), ensemble(E1, "a", "b"))
    world.settle()
    assert world.pools(A1, B1) == world.pools(E1) != before
    world.desired = wanted(*map(version_spec, (A1, B1)))
    world.settle()
    assert world.snapshot.versions[A1].isolation == "shared"
    assert len(world.cluster.pools) == 1


def test_ensembles_with_a_model_in_common_share_one_pool() -> None:
    """The model is loaded once, and serves both."""
    models = map(version_spec, (A1, B1, C1))
    world = World(desired=wanted(*models, ensemble(E1, "a", "b"), ensemble(F1, "b", "c"))).settled()
    assert len(world.pools(A1, B1, C1, E1, F1)) == 1


def test_a_group_has_what_any_of_its_models_needs() -> None:
    """The pool has as many workers and GPUs as the most demanding of them."""
    policies = (
        ServingPolicy(replica_count=3, isolation=Isolation.SHARED),
        ServingPolicy(device="cuda", gpu_count=2.0, profile="cuda-ampere"),
    )
    a, b = (
        version_spec(key, policy=policy) for key, policy in zip((A1, B1), policies, strict=True)
    )
    world = World(desired=wanted(a, b, ensemble(E1, "a", "b")))
    world.settle()
    (pool,) = world.memory.pools.values()
    shape = pool.shape
    assert (shape.replica_count, shape.gpu_count, shape.profile) == (3, 2.0, "cuda-ampere")


def test_a_step_without_a_version_means_the_live_one() -> None:
    """The highest that answers, or the promoted one; and the ensemble follows."""
    specs = [*map(version_spec, (A1, A2)), ensemble(E1, "a")]
    world = World(desired=wanted(*specs)).settled()
    assert world.steps_of(E1) == [A2]
    world.desired = wanted(*specs, pinned={"a": 1})
    world.settle()
    assert world.steps_of(E1) == [A1]
    world.desired = wanted(version_spec(A1), ensemble(E1, ("a", 1)))
    world.settle()
    assert world.steps_of(E1) == [A1]


def test_a_new_version_of_a_model_is_taken_when_it_answers() -> None:
    """Until then the ensemble goes on with the one before: it is never without."""
    world = World(desired=wanted(version_spec(A1), ensemble(E1, "a"))).settled()
    world.cluster.broken = {"bad"}
    world.desired = wanted(version_spec(A1), version_spec(A2, "bad"), ensemble(E1, "a"))
    world.settle()
    assert world.steps_of(E1) == [A1]
    assert world.snapshot.versions[E1].state is VersionState.READY
    world.desired = wanted(version_spec(A1), version_spec(A2, "good"), ensemble(E1, "a"))
    world.settle()
    assert world.steps_of(E1) == [A2]


def test_a_changed_model_gives_the_ensemble_another_digest() -> None:
    """So it is loaded again, and what failed with the old model is tried again."""
    digests = {
        linked(wanted(version_spec(A1, digest), ensemble(E1, "a")), Memory())
        .desired.versions[E1]
        .digest
        for digest in ("1", "2")
    }
    assert len(digests) == 2


def test_an_ensemble_whose_model_fails_says_so() -> None:
    """UNAVAILABLE with step, model and reason; its other model is served."""
    world = World(desired=wanted(version_spec(A1, "bad"), version_spec(B1), ensemble(E1, "a", "b")))
    world.cluster.broken = {"bad"}
    world.settle()
    record = world.snapshot.versions[E1]
    assert (record.state, record.pool) == (VersionState.UNAVAILABLE, None)
    assert record.reason == "step 1 (model 'a') is not ready: bad file"
    assert world.snapshot.versions[B1].state is VersionState.READY
    world.desired = wanted(version_spec(A1, "good"), version_spec(B1), ensemble(E1, "a", "b"))
    world.settle()
    assert world.snapshot.ready


def test_an_ensemble_whose_model_goes_is_not_ready() -> None:
    """Its route goes with the model's, in the same table."""
    both = (version_spec(A1), version_spec(B1))
    world = World(desired=wanted(*both, ensemble(E1, "a", "b"))).settled()
    world.desired = wanted(version_spec(B1), ensemble(E1, "a", "b"))
    world.settle()
    record = world.snapshot.versions[E1]
    assert record.state is VersionState.UNAVAILABLE
    assert record.reason == "step 1 (model 'a') is not ready: model 'a' is not loaded"


@pytest.mark.parametrize(
    ("specs", "reason"),
    [
        pytest.param(
            [ensemble(E1, "z")],
            "step 1 (model 'z') is not ready: model 'z' does not exist",
            id="unknown model",
        ),
        pytest.param(
            [version_spec(A1), ensemble(E1, ("a", 7))],
            "step 1 (model 'a' version 7) is not ready: version 7 of model 'a' is not loaded",
            id="unknown version",
        ),
        pytest.param(
            [ensemble(E1, "f"), ensemble(F1, "e")],
            "ensembles call each other in a circle: e:1 → f:1 → e:1",
            id="circle",
        ),
        pytest.param(
            [
                version_spec(A1, lock_file="/one"),
                version_spec(B1, lock_file="/other"),
                ensemble(E1, "a", "b"),
            ],
            "its steps pin different packages",
            id="packages",
        ),
    ],
)
def test_what_can_never_work_is_refused(specs: list[VersionSpec], reason: str) -> None:
    """The reason stands in the ensemble's place; its models are served."""
    found = linked(wanted(*specs), Memory()).desired
    assert E1 not in found.versions
    assert reason in found.failed[E1]


def test_models_that_cannot_share_a_worker_keep_their_own() -> None:
    """An ensemble that is refused for its packages does not draw them together."""
    specs = [version_spec(A1, lock_file="/one"), version_spec(B1, lock_file="/other")]
    world = World(desired=wanted(*specs, ensemble(E1, "a", "b"))).settled()
    assert len(world.pools(A1, B1)) == 2
    assert world.snapshot.versions[A1].state is VersionState.READY


def test_an_ensemble_may_be_a_step() -> None:
    """Both live in the pool of the models."""
    world = World(desired=wanted(version_spec(A1), ensemble(F1, "e"), ensemble(E1, "a"))).settled()
    assert world.snapshot.ready
    assert len(world.pools(A1, E1, F1)) == 1


def test_without_ensembles_nothing_is_changed() -> None:
    """The very record that the sources gave is used."""
    desired = wanted(version_spec(A1))
    assert linked(desired, Memory()).desired is desired


def explicit(*specs: VersionSpec, load: tuple[str, ...] = ()) -> Sources:
    """Sources over a folder, in explicit mode."""
    return Sources(FakeRegistry(), FakeFolder(*specs), Selection(mode="explicit", load_model=load))


FOLDER = (*map(version_spec, (A1, B1, C1)), ensemble(E1, "a", "b"), ensemble(F1, "b", "c"))


def test_loading_an_ensemble_loads_its_models() -> None:
    """In explicit mode, at start and later; nothing else is loaded."""
    sources = explicit(*FOLDER, load=("e",))
    assert sources.read().versions.keys() == {A1, B1, E1}
    sources.load("f")
    assert sources.read().versions.keys() == {A1, B1, C1, E1, F1}


def test_unloading_an_ensemble_leaves_its_models_or_takes_them() -> None:
    """With `unload_dependents` its models go, but for those that another ensemble needs."""
    sources = explicit(*FOLDER, load=("e", "f"))
    sources.read()
    sources.unload("e", dependents=True)
    assert sources.read().versions.keys() == {B1, C1, F1}
    sources.unload("f")
    assert sources.read().versions.keys() == {B1, C1}


def test_a_step_that_is_not_in_the_repository_does_not_stop_the_others() -> None:
    """It is the ensemble's trouble, told when its steps are looked for."""
    sources = explicit(version_spec(A1), ensemble(E1, "a", "gone"), load=("e",))
    assert sources.read().versions.keys() == {A1, E1}


def test_an_ensemble_in_the_folder_that_is_broken_is_one_failed_model() -> None:
    """Its reason is that of the folder."""
    folder = FakeFolder(version_spec(A1))
    folder.put(ModelScan(model="e", reason="no version"))
    sources = Sources(FakeRegistry(), folder, Selection())
    desired = linked(sources.read(), Memory()).desired
    assert desired.versions.keys() == {A1}


@pytest.mark.parametrize("mode", ["none", "explicit"])
def test_steps_may_be_models_of_the_registry(mode: str) -> None:
    """The ensemble is in the repository, its models were pushed: it is served all the same."""
    registry = FakeRegistry(version_spec(A1), version_spec(B1))
    load = ("e",) if mode == "explicit" else ()
    selection = Selection(mode=mode, load_model=load)
    sources = Sources(registry, FakeFolder(ensemble(E1, "a", "b")), selection)

    found = linked(sources.read(), Memory()).desired

    assert found.versions.keys() == {A1, B1, E1}
    assert not found.failed
