"""A configuration that asks for another way to run, and else says what it said."""

import pytest

from serving.registry.model_config.parsing import parse_config
from serving.registry.model_config.scheduling import (
    Joining,
    Scheduling,
    scheduling_lines,
    scheduling_of,
    with_scheduling,
)

WANTED = Scheduling(
    instances=3, threads=2, joining=Joining(max_queue_delay_us=1500, preferred_rows=(4, 8))
)
WRITTEN = """
max_batch_size: 16
input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] }
instance_group { count: 1 kind: KIND_CPU }
dynamic_batching { preferred_batch_size: 2 default_queue_policy { max_queue_size: 9 } }
parameters { key: "label_kind" value { string_value: "classification" } }
"""


@pytest.mark.parametrize("text", ["", WRITTEN, "max_batch_size: 16"])
def test_what_is_asked_for_is_what_is_read(text: str) -> None:
    """Whatever a configuration said before."""
    policy = parse_config(with_scheduling(text, "m", WANTED), model="m").policy

    assert scheduling_of(policy, 64) == WANTED


def test_everything_else_stays() -> None:
    """Batch size, tensors, the queue's bounds and other parameters."""
    before = parse_config(WRITTEN, model="m").policy
    after = parse_config(with_scheduling(WRITTEN, "m", WANTED), model="m").policy

    assert after.max_batch_rows == before.max_batch_rows == 16
    assert after.inputs == before.inputs
    assert after.labelled == before.labelled
    assert after.queue.max_queue_calls == before.queue.max_queue_calls == 9


@pytest.mark.parametrize(("text", "rows"), [("max_batch_size: 0", 0), ("", None)])
def test_silence_and_no_batch_dimension_stay_different(text: str, rows: int | None) -> None:
    """A model that is never batched stays so, and one that did not say says nothing."""
    plain = Scheduling(instances=2, threads=1)

    assert parse_config(with_scheduling(text, "m", plain), model="m").policy.max_batch_rows == rows


def test_only_the_fields_of_the_scheduling_are_shown() -> None:
    """What somebody copies into config.pbtxt."""
    shown = scheduling_lines(with_scheduling(WRITTEN, "m", WANTED), "m")

    for text in ("count: 3", "intra_op_thread_count", "max_queue_delay_microseconds: 1500"):
        assert text in shown
    for text in ("TYPE_FP32", "label_kind", "max_batch_size"):
        assert text not in shown


def test_threads_that_nobody_set_are_worked_out() -> None:
    """By the node's CPUs and the workers on it."""
    policy = parse_config("instance_group { count: 2 kind: KIND_CPU }", model="m").policy

    assert scheduling_of(policy, 9) == Scheduling(instances=2, threads=4)
