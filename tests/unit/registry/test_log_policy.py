"""What a model's configuration says of its prediction log."""

import pytest

from runtimes.errors import InvalidArgumentError
from serving.registry.model_config.parsing import parse_config
from serving.registry.policies.log_policy import LogPolicy


def _parameter(name: str, value: str) -> str:
    return f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}\n'


def test_a_configuration_says_what_is_kept() -> None:
    """Rate, inputs and redacted tensors are read, and none of them counts as ignored."""
    text = (
        _parameter("prediction_log_rate", "0.25")
        + _parameter("prediction_log_inputs", "hash")
        + _parameter("prediction_log_redact", "name, address")
    )
    policy = parse_config(text, model="m").policy

    assert policy.log == LogPolicy(rate=0.25, inputs="hash", redacted=("name", "address"))
    assert policy.ignored == ()


def test_silence_leaves_it_to_the_server() -> None:
    """A configuration without a word of it has the policy that says nothing."""
    assert parse_config("", model="m").policy.log == LogPolicy()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prediction_log_rate", "2"),
        ("prediction_log_rate", "nan"),
        ("prediction_log_rate", "all"),
        ("prediction_log_inputs", "some"),
    ],
)
def test_what_is_none_is_refused(name: str, value: str) -> None:
    """A value that does not exist is an error that names it."""
    with pytest.raises(InvalidArgumentError, match=name):
        parse_config(_parameter(name, value), model="m")
