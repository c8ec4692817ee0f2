"""Ensembles that come, go and share models in any order: none is ever without its steps."""

from hypothesis import example, given
from hypothesis import strategies as st

from serving.ids import VersionKey
from serving.registry.ensemble import LATEST
from serving.registry.version import ServingPolicy, VersionSpec, VersionState
from serving.rollout.desired import Desired
from serving.rollout.ensembles import linked
from serving.rollout.memory import Limits
from tests.fakes.cluster import version_spec
from tests.fakes.ensembles import step
from tests.fakes.world import World

LIMITS = Limits(shared_pool_versions=3, pool_slots=60)
MODELS = "abc"
ENSEMBLES = "efg"


def plain(model: str, version: int = 1, digest: str = "1", replicas: int = 1) -> VersionSpec:
    """A model's version."""
    policy = ServingPolicy(replica_count=replicas)
    return version_spec(VersionKey(model, version), digest, policy=policy)


def ensemble(name: str, *members: tuple[str, int]) -> VersionSpec:
    """An ensemble over models in a row."""
    steps = [
        step(model, {"i": f"t{number}"}, {"o": f"t{number + 1}"}, version)
        for number, (model, version) in enumerate(members)
    ]
    policy = ServingPolicy(ensemble=tuple(steps))
    key = VersionKey(name, 1)
    return version_spec(key, repr(members), format="ensemble", size_bytes=0, policy=policy)


def wanted(*specs: VersionSpec) -> Desired:
    """All of these, and no other version."""
    models = frozenset(MODELS + ENSEMBLES)
    return Desired(versions={spec.key: spec for spec in specs}, known_models=models)


MEMBERS = st.tuples(
    st.sampled_from(MODELS + ENSEMBLES), st.sampled_from([LATEST, LATEST, LATEST, 1, 2])
)
PLAIN = st.builds(
    plain,
    st.sampled_from(MODELS),
    st.integers(1, 2),
    st.sampled_from(["1", "2", "bad"]),
    st.integers(1, 2),
)
OF_OTHERS = st.builds(
    lambda name, members: ensemble(name, *members),
    st.sampled_from(ENSEMBLES),
    st.lists(MEMBERS, min_size=1, max_size=3),
)
EVENTS = st.one_of(
    st.lists(PLAIN | OF_OTHERS, max_size=7, unique_by=lambda spec: spec.key).map(
        lambda specs: wanted(*specs)
    ),
    st.sampled_from(["pass", "pass", "advance", "advance", "crash"]),
)
A, B, C = (plain(model) for model in MODELS)
E, G = ensemble("e", ("a", LATEST), ("b", LATEST)), ensemble("g", ("c", LATEST))
TWO_GROUPS = wanted(A, B, C, E, G)
JOINED = wanted(A, B, C, E, G, ensemble("f", ("b", LATEST), ("c", LATEST)))


@given(events=st.lists(EVENTS, max_size=30))
@example(events=[TWO_GROUPS, *["pass", "advance"] * 12, JOINED])
def test_no_ensemble_is_without_its_steps(events: list[Desired | str]) -> None:
    """Its workers have them for as long as they have it; nothing that serves loses its route.

    The cluster and its edges refuse both. In the end all that can work does, and nothing moves.
    """
    world = World(limits=LIMITS)
    world.cluster.broken = {"bad"}
    for event in events:
        world.happen(event)
    world.settle()
    link = linked(world.desired, world.memory)
    for key, spec in link.desired.versions.items():
        assert world.state(key) is VersionState.READY or spec.digest == "bad"
        homes = {VersionKey(one.model, one.version) for one in spec.policy.ensemble}
        assert {world.pool(home) for home in homes} <= {world.pool(key)}
    for key in world.desired.versions.keys() - link.desired.versions.keys():
        assert world.state(key) is VersionState.UNAVAILABLE
        assert world.snapshot.versions[key].reason
    assert world.controller_pass().is_empty
