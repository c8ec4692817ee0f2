"""Triton's dynamic_batching, as the queue that it asks for."""

import pytest

from runtimes.errors import InvalidArgumentError
from serving.registry.model_config.parsing import parse_config
from serving.registry.version import LevelPolicy, PriorityPolicy, QueuePolicy, TimeoutAction

LEVELS = """
max_batch_size: 4
dynamic_batching {
  priority_levels: 10
  default_priority_level: 5
  default_queue_policy { max_queue_size: 7 default_timeout_microseconds: 250000 }
  priority_queue_policy {
    key: 1
    value {
      timeout_action: DELAY
      default_timeout_microseconds: 1000000
      allow_timeout_override: true
    }
  }
}
"""


def queue(text: str) -> QueuePolicy:
    """Return what a configuration says of the queue."""
    return parse_config(text, model="m").policy.queue


def test_levels_and_their_policies_are_read() -> None:
    """Each level has its own policy or the default one; limits of time and bounds are theirs."""
    found = queue(LEVELS)
    assert found.priorities == PriorityPolicy(
        level_count=10,
        default_level=5,
        default=LevelPolicy(default_timeout_s=0.25, max_calls=7),
        special=(
            (
                1,
                LevelPolicy(
                    timeout_action=TimeoutAction.DELAY, default_timeout_s=1.0, may_override=True
                ),
            ),
        ),
    )
    assert (found.default_timeout_s, found.max_queue_rows, found.max_queue_calls) == (0.0, 0, 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dynamic_batching {}",
        "dynamic_batching { default_queue_policy { default_timeout_microseconds: 5 } }",
        "dynamic_batching { default_queue_policy { allow_timeout_override: true } }",
    ],
)
def test_a_plain_policy_keeps_the_plain_queue(text: str) -> None:
    """Only priorities and delays need the other one."""
    assert queue(text).priorities is None


def test_delaying_late_calls_needs_no_priorities() -> None:
    """DELAY in the default policy is one level of its own kind."""
    found = queue("dynamic_batching { default_queue_policy { timeout_action: DELAY } }").priorities
    assert found is not None
    assert (found.level_count, found.default.timeout_action) == (1, TimeoutAction.DELAY)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("priority_levels: 2", "default_priority_level is 0: a level from 1 to priority_levels, 2"),
        ("priority_levels: 2 default_priority_level: 3", "default_priority_level is 3"),
        ("default_priority_level: 1", "need priority_levels, which is 0"),
        (
            "priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 3 }",
            "priority_queue_policy has level 3",
        ),
        (
            "priority_levels: 2 default_priority_level: 1 preserve_ordering: true",
            "preserve_ordering and 2 priority_levels contradict each other",
        ),
    ],
)
def test_contradictions_are_refused(text: str, words: str) -> None:
    """The message names the field, its value and what is expected."""
    with pytest.raises(InvalidArgumentError, match="dynamic_batching") as caught:
        parse_config(f"dynamic_batching {{ {text} }}", model="m")
    assert words in caught.value.message


def test_a_bound_of_the_queue_counts_calls() -> None:
    """Triton's max_queue_size; without one, rows are bounded."""
    found = queue("dynamic_batching { default_queue_policy { max_queue_size: 3 } }")
    assert (found.max_queue_calls, found.max_queue_rows) == (3, 0)
    assert queue("").max_queue_rows == QueuePolicy().max_queue_rows


def test_a_rate_limiter_is_told_of_as_without_effect() -> None:
    """As in Triton, which leaves rate limiters alone unless it is started with them."""
    text = """
      instance_group { count: 1 rate_limiter { resources { name: "R" count: 4 } priority: 2 } }
    """
    assert "instance_group rate_limiter" in parse_config(text, model="m").policy.ignored


def ageing(text: str) -> str:
    """Return the parameter."""
    return (
        f'parameters {{ key: "priority_ageing_microseconds" value {{ string_value: "{text}" }} }}'
    )


def test_ageing_is_off_unless_it_is_asked_for() -> None:
    """Levels are strict by default, as Triton's are."""
    strict, aged = queue(LEVELS).priorities, queue(LEVELS + ageing("2500000")).priorities
    assert strict is not None
    assert aged is not None
    assert (strict.ageing_s, aged.ageing_s) == (0.0, 2.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LEVELS + ageing("2s"), "is '2s': a number from 0"),
        (LEVELS + ageing("86400000001"), "(a day) is expected"),
        (LEVELS + ageing("0086400000001"), "(a day) is expected"),
        (ageing("5"), "no priority level to go up to"),
    ],
)
def test_ageing_that_cannot_be_is_refused(text: str, words: str) -> None:
    """With what would be right."""
    with pytest.raises(InvalidArgumentError) as caught:
        queue(text)
    assert words in str(caught.value)
