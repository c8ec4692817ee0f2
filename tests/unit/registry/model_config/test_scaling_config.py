"""What a model's configuration says of how many workers it has."""

import pytest

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.registry.model_config.parsing import parse_config
from serving.registry.policies.scaling_policy import ScalingPolicy
from serving.registry.version import Isolation

TWO = "instance_group { count: 2 kind: KIND_CPU }\n"


def _parameters(**given: str) -> str:
    return "".join(
        f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}\n'
        for name, value in given.items()
    )


def test_a_configuration_says_between_how_many() -> None:
    """All is read, nothing is told of as ignored, and the model shares its workers with nobody."""
    text = _parameters(
        min_replicas="0",
        max_replicas="6",
        scale_target_calls="2.5",
        scale_target_busy="0.5",
        scale_slo_p99_ms="50",
        scale_down_delay="90s",
        idle_to_zero="2h",
    )
    policy = parse_config(text, model="m").policy
    assert policy.scaling == ScalingPolicy(
        min_replicas=0,
        max_replicas=6,
        target_calls=2.5,
        target_busy=0.5,
        slo_p99_s=0.05,
        down_delay_s=90,
        idle_to_zero_s=7200,
    )
    assert policy.replica_count == 6  # what the node must have room for
    assert policy.isolation is Isolation.DEDICATED
    assert policy.ignored == ()


def test_what_is_left_out_is_what_the_instances_say() -> None:
    """Without a word of it, nothing is scaled."""
    assert parse_config(TWO, model="m").policy.scaling is None
    least = parse_config(TWO + _parameters(min_replicas="0"), model="m").policy.scaling
    most = parse_config(TWO + _parameters(max_replicas="4"), model="m").policy.scaling
    assert least is not None
    assert (least.min_replicas, least.max_replicas) == (0, 2)
    assert most is not None
    assert (most.min_replicas, most.max_replicas) == (2, 4)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"min_replicas": "-1"}, "min_replicas"),
        ({"min_replicas": "1.5"}, "min_replicas"),
        ({"max_replicas": "0"}, "max_replicas"),
        ({"max_replicas": "257"}, "max_replicas"),
        ({"min_replicas": "3", "max_replicas": "2"}, "minimum is the larger"),
        ({"max_replicas": "2", "scale_target_calls": "0"}, "scale_target_calls"),
        ({"max_replicas": "2", "scale_target_busy": "1.1"}, "scale_target_busy"),
        ({"max_replicas": "2", "scale_slo_p99_ms": "soon"}, "scale_slo_p99_ms"),
        ({"max_replicas": "2", "scale_down_delay": "0s"}, "scale_down_delay"),
        ({"min_replicas": "0", "idle_to_zero": "5"}, "idle_to_zero"),
        ({"scale_slo_p99_ms": "50"}, "scale_slo_p99_ms means nothing"),
        ({"max_replicas": "2", "isolation": "shared"}, "isolation is shared"),
    ],
)
def test_what_is_none_is_refused(given: dict[str, str], named: str) -> None:
    """A value that does not exist, or contradicts another, is an error that names it."""
    with pytest.raises(InvalidArgumentError, match=named):
        parse_config(_parameters(**given), model="m")


def test_sequences_are_not_scaled() -> None:
    """One worker has their state."""
    text = "sequence_batching { }\n" + _parameters(max_replicas="2")
    with pytest.raises(UnsupportedError, match="cannot be scaled"):
        parse_config(text, model="m")
