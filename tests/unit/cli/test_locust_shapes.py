"""The shapes of a load: how many users there are when."""

import pytest

from serving.cli.locust.shapes import Shape, Stage, stage_at, stages


def counts(shape: Shape, user_count: int = 20, least_count: int = 1) -> list[tuple[float, int]]:
    """The stages of 100 s: until when, and how many users."""
    found = stages(shape, user_count=user_count, duration_s=100.0, least_count=least_count)
    return [(stage.until_s, stage.user_count) for stage in found]


def test_steady_is_one_number() -> None:
    """All users are there from the first second to the last."""
    assert counts(Shape.STEADY) == [(100.0, 20)]


def test_steps_are_quarters() -> None:
    """Each quarter of the time brings a quarter of the users."""
    assert counts(Shape.STEP) == [(25.0, 5), (50.0, 10), (75.0, 15), (100.0, 20)]


def test_a_peak_is_in_the_middle() -> None:
    """A fifth of the users, all of them in the middle fifth of the time, and a fifth again."""
    assert counts(Shape.SPIKE) == [(40.0, 4), (60.0, 20), (100.0, 4)]


def test_a_soak_begins_slowly() -> None:
    """Its users come one by one in the first tenth of the time, or in the first minute."""
    short = stages(Shape.SOAK, user_count=20, duration_s=100.0, least_count=1)
    long = stages(Shape.SOAK, user_count=30, duration_s=7200.0, least_count=1)

    assert short == (Stage(until_s=100.0, user_count=20, starts_per_s=2.0),)
    assert long == (Stage(until_s=7200.0, user_count=30, starts_per_s=0.5),)


@pytest.mark.parametrize("shape", Shape)
def test_every_way_of_asking_has_a_user(shape: Shape) -> None:
    """No stage has fewer users than there are ways of asking, and the last one ends in time."""
    found = counts(shape, user_count=2, least_count=2)

    assert {count for _, count in found} == {2}
    assert found[-1][0] == 100.0


@pytest.mark.parametrize("shape", Shape)
def test_users_start_no_faster_than_locust_can(shape: Shape) -> None:
    """Of thousands of users no more start in a second than Locust copes with."""
    found = stages(shape, user_count=5000, duration_s=10.0, least_count=1)

    assert {stage.starts_per_s for stage in found} == {100.0}


def test_a_moment_has_one_stage() -> None:
    """A stage ends where the next one begins; after the last one there is none."""
    found = stages(Shape.STEP, user_count=4, duration_s=4.0, least_count=1)

    assert [stage_at(found, now_s) for now_s in (0.0, 0.9, 1.0, 3.9)] == [
        found[0],
        found[0],
        found[1],
        found[3],
    ]
    assert stage_at(found, 4.0) is None
