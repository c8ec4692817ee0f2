"""What a worker says of versions, and what its host makes of it."""

from serving.ids import VersionKey
from serving.registry.version import VersionState
from serving.rollout.hosted import Hosted
from serving.worker.control import UNLOADED, HostedLine
from tests.fakes.cluster import version_spec

A1, B1 = VersionKey("a", 1), VersionKey("b", 1)
READY, LOADING = VersionState.READY, VersionState.LOADING
UNLOADING, UNAVAILABLE = VersionState.UNLOADING, VersionState.UNAVAILABLE
TRIES = 3


def line(state: VersionState, reason: str = "", digest: str = "1") -> HostedLine:
    """What a worker says of version 1 of `a`."""
    return HostedLine(model="a", version=1, state=state, reason=reason, digest=digest)


def serving_one() -> Hosted:
    """A worker that serves version 1 of `a`."""
    hosted = Hosted(TRIES)
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


def failing(hosted: Hosted, digest: str = "1") -> tuple[VersionState, bool]:
    """Let one try to load it fail; return what is known then."""
    hosted.note(line(LOADING, digest=digest))
    hosted.note(line(UNAVAILABLE, "no memory", digest))
    said = hosted.versions[A1]
    hosted.applied({A1})
    return said.state, said.is_retried


def test_what_cannot_be_loaded_is_tried_again_some_times() -> None:
    """Then it is given up. Each try is known to have failed until the next one has ended."""
    hosted = serving_one()
    assert hosted.failure_count == 0
    hosted.begin()
    assert [failing(hosted) for _ in range(2)] == [(UNAVAILABLE, True), (UNAVAILABLE, True)]
    hosted.note(line(LOADING))
    assert hosted.versions[A1].is_retried
    assert hosted.is_loading
    assert hosted.failure_count == 2
    assert failing(hosted) == (UNAVAILABLE, False)
    assert hosted.failure_count == 0


def test_tries_begin_anew_when_it_was_loaded_or_is_another() -> None:
    """After a success, an end of the process, or with another file."""
    hosted = serving_one()
    for _ in range(2):
        hosted.begin()
        failing(hosted)
        hosted.note(line(READY))
        hosted.applied({A1})
        failing(hosted)
        hosted.want([version_spec(A1, "2")])
        assert failing(hosted, "2") == (UNAVAILABLE, True)
        assert hosted.failure_count == 1
        hosted.want([version_spec(A1)])


def test_a_new_list_with_the_same_version_is_no_new_version() -> None:
    """What is tried again stays so; what was not wanted in between begins as if it were new."""
    hosted = serving_one()
    failing(hosted)
    hosted.want([version_spec(A1), version_spec(B1)])
    assert hosted.versions[A1].is_retried
    hosted.want([version_spec(B1)])
    hosted.want([version_spec(A1), version_spec(B1)])
    assert hosted.versions[A1].state is LOADING


def test_what_cannot_be_started_has_failed() -> None:
    """Every version of a worker whose environment cannot be built is UNAVAILABLE."""
    hosted = Hosted(TRIES)
    hosted.want([version_spec(A1)])
    hosted.refusal = "no such package"
    hosted.begin()
    hosted.want([version_spec(A1), version_spec(B1)])
    assert {said.state for said in hosted.versions.values()} == {UNAVAILABLE}
    assert hosted.versions[B1].reason == "no such package"
