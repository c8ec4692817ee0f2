"""Commands bring HAProxy from any state to any other without a gap."""

from collections.abc import Mapping
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.edge.haproxy_commands import (
    BATCH_BYTES,
    BATCH_COMMANDS,
    HaproxyState,
    arrivals,
    assign_slots,
    departures,
    infer_path,
    pools_of,
    routings,
    wanted_state,
)
from serving.edge.routes import LiveRoute, RouteTable, VersionRoute, WorkerAddress
from serving.errors import NotReadyError
from serving.ids import MODEL_NAME, VersionKey
from tests.fakes.haproxy_model import HaproxyModel

SLOTS = 16
POOLS = st.sampled_from(["p1", "p2", "p3", "p4"])
MODELS = st.sampled_from(["m", "m a", "50%", "ü"])


def worker(pool: str, number: int) -> WorkerAddress:
    """A worker of a pool on this node."""
    return WorkerAddress(f"{pool}-{number}", "here", f"/run/{pool}-{number}.sock")


@st.composite
def tables(draw: st.DrawFn) -> RouteTable:
    """Tables whose routed pools all have workers, as the controller publishes them."""
    counts = draw(st.dictionaries(POOLS, st.integers(1, 3), min_size=1))
    pools = {
        pool: tuple(worker(pool, number) for number in range(count))
        for pool, count in counts.items()
    }
    target = st.none() | st.sampled_from(sorted(pools))
    keys = st.builds(VersionKey, MODELS, st.integers(1, 3))
    versions = draw(st.dictionaries(keys, st.builds(VersionRoute, target), max_size=8))
    number = st.none() | st.integers(1, 3)
    live = draw(
        st.dictionaries(
            MODELS, st.builds(LiveRoute, number, candidate=number, candidate_share=st.just(500))
        )
    )
    return RouteTable(pools=pools, versions=versions, live=live)


def test_a_version_asleep_is_the_front_desks() -> None:
    """Its calls wait there; a candidate that is asleep gets no share of the live version's."""
    table = RouteTable(
        pools={"p1": (worker("p1", 0),), "p2": ()},
        versions={
            VersionKey("m", 1): VersionRoute("p1"),
            VersionKey("m", 2): VersionRoute("p2", asleep=True),
            VersionKey("n", 2): VersionRoute("p2", asleep=True),
        },
        live={"m": LiveRoute(1, 2, 500), "n": LiveRoute(2)},
    )
    state = wanted_state(table, {"p1": "s0001", "p2": "s0002"}, "here")
    assert state.versions == {
        "/v2/models/m/versions/1/infer": "s0001|1",
        "/v2/models/m/versions/2/infer": "asleep|2",
        "/v2/models/n/versions/2/infer": "asleep|2",
    }
    assert state.live == {"/v2/models/m/infer": "s0001|1", "/v2/models/n/infer": "asleep|2"}


def slot_pools(state: HaproxyState) -> Mapping[str, set[str]]:
    """Slot → pools whose servers are there."""
    found: dict[str, set[str]] = {}
    for server in state.servers:
        found.setdefault(server.slot, set()).add(server.name.split("-")[0])
    return found


@given(old=tables(), new=tables())
def test_a_change_leads_from_any_table_to_any_other(old: RouteTable, new: RouteTable) -> None:
    """After the commands HAProxy has exactly what the new table says."""
    old_slots = assign_slots(old, {}, SLOTS)
    new_slots = assign_slots(new, old_slots, SLOTS)
    before, after = wanted_state(old, old_slots, "here"), wanted_state(new, new_slots, "here")
    model = HaproxyModel.holding(before)

    for batch in (
        *arrivals(before, after, ready=frozenset(), leaving=frozenset()),
        *routings(before, after),
        *departures(before, after),
    ):
        model.obey(batch)

    assert model.state() == after


@given(old=tables(), new=tables())
def test_no_route_ever_points_to_a_backend_without_its_servers(
    old: RouteTable, new: RouteTable
) -> None:
    """After each single command, every routed slot has servers of the one pool that owns it."""
    old_slots = assign_slots(old, {}, SLOTS)
    new_slots = assign_slots(new, old_slots, SLOTS)
    before, after = wanted_state(old, old_slots, "here"), wanted_state(new, new_slots, "here")
    owners = {slot: pool for pool, slot in (old_slots | new_slots).items()}
    model = HaproxyModel.holding(before)

    def every_route_has_servers() -> None:
        for slot in model.state().slots():
            assert {name.split("-")[0] for name in model.open_in(slot)} == {owners[slot]}

    for batch in (
        *arrivals(before, after, ready=frozenset(), leaving=frozenset()),
        *routings(before, after),
        *departures(before, after),
    ):
        model.obey(batch, every_route_has_servers)


@given(table=tables())
def test_no_change_is_no_command(table: RouteTable) -> None:
    """The same table again says nothing to HAProxy."""
    slots = assign_slots(table, {}, SLOTS)
    state = wanted_state(table, slots, "here")
    commands = [
        *arrivals(state, state, ready=frozenset(), leaving=frozenset()),
        *routings(state, state),
        *departures(state, state),
    ]
    assert (commands, assign_slots(table, slots, SLOTS)) == ([], slots)


@given(old=tables(), new=tables())
def test_a_pool_keeps_its_slot_and_shares_it_with_nobody(old: RouteTable, new: RouteTable) -> None:
    """Pools in both tables stay where they are; no two pools, leaving ones included, meet."""
    held = assign_slots(old, {}, SLOTS)
    slots = assign_slots(new, held, SLOTS)
    kept = pools_of(old) & pools_of(new)
    everyone = held | slots
    assert {pool: slots[pool] for pool in kept} == {pool: held[pool] for pool in kept}
    assert len(set(everyone.values())) == len(everyone)


def test_a_flip_is_one_command() -> None:
    """Another live version changes one map entry and nothing else."""
    versions = {VersionKey("m", 1): VersionRoute("p1"), VersionKey("m", 2): VersionRoute("p2")}
    pools = {"p1": (worker("p1", 0),), "p2": (worker("p2", 0),)}
    slots = {"p1": "s0000", "p2": "s0001"}
    one = wanted_state(RouteTable(1, pools, versions, {"m": LiveRoute(1)}), slots, "here")
    two = wanted_state(RouteTable(2, pools, versions, {"m": LiveRoute(2)}), slots, "here")
    flip = "set map live.map /v2/models/m/infer s0001|2"
    assert [batch.text for batch in routings(one, two)] == [flip]


def test_too_few_slots_is_an_error_that_names_the_setting() -> None:
    """The message says how many there are and what to do."""
    table = RouteTable(pools={"p1": (), "p2": ()})
    with pytest.raises(NotReadyError, match=r"all 1 pool slots are taken.*BASCULE_POOL_SLOTS"):
        assign_slots(table, {}, 1)


def test_a_candidate_that_cannot_answer_gets_nothing() -> None:
    """A share for a version without a pool is left out of the route."""
    table = RouteTable(
        pools={"p1": (worker("p1", 0),)},
        versions={VersionKey("m", 1): VersionRoute("p1"), VersionKey("m", 2): VersionRoute(None)},
        live={"m": LiveRoute(1, candidate=2, candidate_share=5_000)},
    )
    assert wanted_state(table, {"p1": "s0000"}, "here").live == {"/v2/models/m/infer": "s0000|1"}


def test_workers_elsewhere_are_reached_by_tcp_or_not_at_all() -> None:
    """Another node's unix socket means nothing here."""
    remote = WorkerAddress("p1-0", "there", "/run/x.sock", "10.0.0.2:7000")
    unreachable = WorkerAddress("p1-1", "there", "/run/y.sock")
    table = RouteTable(pools={"p1": (remote, unreachable)})
    state = wanted_state(table, {"p1": "s0000"}, "here")
    assert list(state.servers.values()) == ["10.0.0.2:7000"]


def test_sockets_of_the_instance_are_named_from_haproxys_folder() -> None:
    """No character of the home's path reaches HAProxy; one that lies elsewhere keeps its path."""
    near = WorkerAddress("p1-0", "here", "/h \n'#/run/w/p1-0.sock")
    far = WorkerAddress("p1-1", "here", "/other place/w/p1-1.sock")
    table = RouteTable(pools={"p1": (near, far)})
    state = wanted_state(table, {"p1": "s0000"}, "here", "/h \n'#/run")
    addresses = ["unix@../w/p1-0.sock", "unix@/other\\ place/w/p1-1.sock"]
    assert sorted(state.servers.values()) == addresses


def test_a_worker_at_a_new_address_is_a_new_server() -> None:
    """HAProxy cannot change a server's address: the old one leaves, the new one comes."""
    old = RouteTable(pools={"p1": (WorkerAddress("p1-0", "here", "/run/a.sock"),)})
    new = RouteTable(pools={"p1": (WorkerAddress("p1-0", "here", "/run/b.sock"),)})
    slots = {"p1": "s0000"}
    states = [wanted_state(table, slots, "here") for table in (old, new)]
    assert states[0].servers.keys().isdisjoint(states[1].servers.keys())


def test_a_server_that_is_leaving_is_called_back() -> None:
    """It is still registered, so it is not added again."""
    table = RouteTable(pools={"p1": (worker("p1", 0),)})
    state = wanted_state(table, {"p1": "s0000"}, "here")
    (server,) = state.servers
    batches = arrivals(HaproxyState(), state, ready=frozenset(), leaving=frozenset({server}))
    assert [batch.text for batch in batches] == [f"set server {server} state ready"]


def test_large_changes_travel_in_small_batches() -> None:
    """3,000 entries go in batches that fit a buffer and hold HAProxy up for milliseconds only."""
    keys = [f"model-{number}/1" for number in range(3_000)]
    one = HaproxyState(versions=dict.fromkeys(keys, "s0000|1"))
    two = HaproxyState(versions=dict.fromkeys(keys, "s0001|1"))
    batches = [*routings(HaproxyState(), one), *routings(one, two), *routings(two, HaproxyState())]
    assert max(len(batch.text) for batch in batches) <= BATCH_BYTES + 100
    assert max(batch.text.count(";") for batch in batches) < BATCH_COMMANDS


@given(name=st.from_regex(MODEL_NAME, fullmatch=True))
def test_a_maps_key_has_no_character_that_the_api_would_split_at(name: str) -> None:
    """Any model name is one word, and can be told from any other."""
    for key in (infer_path(name), infer_path(name, 3)):
        _, _, _, word, *_ = key.split("/")
        assert unquote(word) == name
        assert not set(key) & set(" ;\\|\n\t#<")
