"""What a worker says of versions, and what its host makes of it."""

from serving.ids import VersionKey
from serving.registry.version import VersionState
from serving.rollout.hosted import Hosted
from serving.worker.control import UNLOADED, HostedLine
from tests.fakes.cluster import version_spec

A1, B1 = VersionKey("a", 1), VersionKey("b", 1)
READY, LOADING = VersionState.READY, VersionState.LOADING
UNLOADING, UNAVAILABLE = VersionState.UNLOADING, VersionState.UNAVAILABLE


def line(state: VersionState, reason: str = "", digest: str = "1") -> HostedLine:
    """What a worker says of version 1 of `a`."""
    return HostedLine(model="a", version=1, state=state, reason=reason, digest=digest)


def serving_one() -> Hosted:
    """A worker that serves version 1 of `a`."""
    hosted = Hosted()
    hosted.want([version_spec(A1)])
    hosted.note(line(LOADING))
    hosted.note(line(READY))
    hosted.applied({A1})
    return hosted


def test_a_version_is_loading_until_it_is_heard_of() -> None:
    """And again after each end of the process; why it takes so long can be told."""
    hosted = serving_one()
    assert hosted.versions[A1].state is READY
    assert hosted.begin("building environment")
    assert (hosted.versions[A1].state, hosted.versions[A1].reason) == (
        LOADING,
        "building environment",
    )
    assert not hosted.begin("building environment")


def test_what_is_wanted_no_more_is_forgotten_when_it_is_gone() -> None:
    """It is UNLOADING for as long as calls run."""
    hosted = serving_one()
    hosted.want([version_spec(B1)])
    hosted.note(line(UNLOADING))
    assert hosted.versions[A1].state is UNLOADING
    hosted.note(line(UNAVAILABLE, UNLOADED))
    assert A1 not in hosted.versions


def test_what_was_unloaded_and_is_wanted_again_has_not_failed() -> None:
    """It was wanted again while it waited for its calls: the next list has it loaded."""
    hosted = serving_one()
    hosted.want([])
    hosted.note(line(UNLOADING))
    hosted.want([version_spec(A1)])
    hosted.note(line(UNAVAILABLE, UNLOADED))
    hosted.applied(())
    assert hosted.versions[A1].state is LOADING
    hosted.note(line(UNAVAILABLE, "bad file"))
    assert hosted.versions[A1].state is UNAVAILABLE


def test_what_cannot_be_started_has_failed() -> None:
    """Every version of a worker whose environment cannot be built is UNAVAILABLE."""
    hosted = Hosted()
    hosted.want([version_spec(A1)])
    hosted.refusal = "no such package"
    hosted.begin()
    hosted.want([version_spec(A1), version_spec(B1)])
    assert {said.state for said in hosted.versions.values()} == {UNAVAILABLE}
    assert hosted.versions[B1].reason == "no such package"
