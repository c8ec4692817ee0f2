"""Outputs of both versions, group by group: what moves is found, what does not is not."""

import math
from collections import Counter

import numpy as np

from serving.monitor.output_bins import output_bin
from serving.rollout.engine.output_shift import OutputShift, shifted, stored


def rows(rng: np.random.Generator, mean: float, count: int = 60) -> dict[str, dict[int, int]]:
    """Sampled rows of one output."""
    return {"y": dict(Counter(output_bin(value) for value in rng.normal(mean, 1.0, count)))}


def after(mean: float, *, windows: int = 30, seed: int = 1) -> OutputShift:
    """What is known after some windows, the candidate's outputs being moved by so much."""
    rng = np.random.default_rng(seed)
    shift = OutputShift()
    for _ in range(windows):
        shift = shifted(shift, rows(rng, mean), rows(rng, 0.0, 120))
    return shift


def test_equal_outputs_give_no_evidence() -> None:
    """Of 12 pairs of equal versions at most one reaches 20; one in twenty might."""
    assert sum(after(0.0, windows=8, seed=seed).log_e >= math.log(20) for seed in range(12)) <= 1


def test_moved_outputs_are_found() -> None:
    """Half a standard deviation, either way, and the text says where they differ."""
    moved = after(0.5)

    assert moved.log_e > math.log(400)
    assert after(-0.5).log_e > math.log(400)
    assert "of the live version are" in moved.series["y"].text


def test_the_first_rows_only_choose_groups() -> None:
    """What chose the groups is not tested with them."""
    first = {"y": {1: 60, 2: 60}}

    shift = shifted(OutputShift(), first, {"y": {1: 120}})

    assert shift.is_begun
    assert shift.log_e == 0
    assert shift.series["y"].candidate == ()


def test_one_value_can_move_both_ways() -> None:
    """An output that never changed has a group on each side of its bin."""
    constant = {"y": {7: 200}}
    begun = shifted(OutputShift(), constant, constant)

    below = shifted(begun, {"y": {6: 30}}, {"y": {7: 30}})
    above = shifted(begun, {"y": {8: 30}}, {"y": {7: 30}})

    assert below.log_e > 5
    assert above.log_e > 5


def test_an_output_that_appears_later_is_not_tested() -> None:
    """The average is over the same comparisons from beginning to end."""
    begun = shifted(OutputShift(), {"y": {7: 200}}, {"y": {7: 200}})

    later = shifted(begun, {"z": {1: 500}}, {"z": {2: 500}})

    assert later.series.keys() == {"y"}


def test_a_store_is_used_up() -> None:
    """Each of its rows is compared once; then there is nothing to compare with."""
    shift = stored(OutputShift(), {"y": {1: 150, 2: 150}})
    for _ in range(20):
        shift = shifted(shift, {"y": {1: 50, 2: 50}}, {}, is_stored=True)

    series = shift.series["y"]
    assert (series.live[-1], sum(series.waiting_live.values())) == (200, 0)
