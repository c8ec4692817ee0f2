"""When an event that was not taken is sent again, and when it is given up."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.events.retrying import (
    FIRST_PAUSE_S,
    GIVE_UP_S,
    LONGEST_ASKED_PAUSE_S,
    LONGEST_PAUSE_S,
    Again,
    Answer,
    GivenUp,
    after_failure,
    pause_s,
)

DOWN = Answer(told="cannot connect")


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_pauses_stay_within_their_bounds(attempt_count: int, chance: float) -> None:
    """Whatever the chance, a pause is between half of the first and the longest one."""
    assert FIRST_PAUSE_S / 2 <= pause_s(attempt_count, chance) <= LONGEST_PAUSE_S


@given(st.floats(0, 1, exclude_max=True))
def test_pauses_double(chance: float) -> None:
    """With the same chance each pause is twice the one before, until the longest."""
    pauses = [pause_s(count, chance) for count in range(1, 9)]

    assert [later / earlier for earlier, later in pairwise(pauses)] == pytest.approx([2.0] * 7)


def test_an_event_is_given_up_after_a_day_and_not_before() -> None:
    """The reason says what came of the last attempt and how long was tried."""
    before = after_failure(DOWN, attempt_count=300, waited_s=GIVE_UP_S - 1, chance=0.5)
    after = after_failure(DOWN, attempt_count=301, waited_s=GIVE_UP_S, chance=0.5)

    assert isinstance(before, Again)
    assert after == GivenUp("cannot connect; given up after 24 h")


def test_whoever_is_gone_gets_it_once() -> None:
    """410 ends the attempts at once; a 404, which a broken proxy may say, does not."""
    gone, lost = (
        after_failure(Answer(status=status, told="no"), attempt_count=1, waited_s=0, chance=0)
        for status in (410, 404)
    )

    assert isinstance(gone, GivenUp)
    assert isinstance(lost, Again)


@pytest.mark.parametrize(
    ("asked_s", "pause"),
    [(0.0, 0.5), (20.0, 20.0), (1e9, LONGEST_ASKED_PAUSE_S)],
    ids=["nothing", "something", "forever"],
)
def test_a_receiver_may_ask_for_a_pause(asked_s: float, pause: float) -> None:
    """Retry-After is kept, within a limit."""
    answer = Answer(status=429, told="slow down", retry_after_s=asked_s)

    assert after_failure(answer, attempt_count=1, waited_s=0, chance=0) == Again(pause)


@pytest.mark.parametrize(
    ("status", "taken"), [(200, True), (299, True), (199, False), (302, False), (0, False)]
)
def test_only_successes_count_as_taken(status: int, taken: object) -> None:
    """A redirect is not followed, and no success."""
    assert Answer(status=status, told="").is_taken is taken
