"""How rows are watched, as a configuration says it."""

import pytest

from runtimes.errors import InvalidArgumentError
from serving.registry.model_config.parsing import parse_config
from serving.registry.policies.drift_policy import DEFAULT_DRIFT, DriftPolicy

DAY_S = 86_400.0


def _parameter(name: str, value: str) -> str:
    return f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}\n'


def test_what_a_configuration_says_is_read_and_acts() -> None:
    """Budgets of false alarms are spans of time between two."""
    text = (
        _parameter("drift", "on")
        + _parameter("drift_learn_rows", "5000")
        + _parameter("drift_false_alarms", "2 per 30d")
        + _parameter("drift_renotify", "1.5h")
    )
    policy = parse_config(text, model="m").policy

    assert policy.drift == DriftPolicy(
        learn_rows=5000, seconds_between=15 * DAY_S, renotify_s=5400.0
    )
    assert policy.ignored == ()
    assert parse_config("", model="m").policy.drift == DEFAULT_DRIFT


def test_a_probability_in_rows_is_rows_between_two_alarms() -> None:
    """5 % within 10,000 rows are 195,000 rows on average."""
    text = _parameter("drift_false_alarms", "0.05 per 10000 rows")
    found = parse_config(text, model="m").policy.drift

    assert found.rows_between == pytest.approx(194_957, rel=1e-4)
    assert found.seconds_between is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("drift", "maybe"),
        ("drift_learn_rows", "20"),
        ("drift_learn_rows", "many"),
        ("drift_learn_rows", "20001"),
        ("drift_false_alarms", "seldom"),
        ("drift_false_alarms", "0 per 30d"),
        ("drift_false_alarms", "1 per 30"),
        ("drift_false_alarms", "1 per 10000 rows"),
        ("drift_false_alarms", "0.1 per 0 rows"),
        ("drift_false_alarms", f"0.1 per {10**400} rows"),
        ("drift_false_alarms", f"0.1 per {'9' * 5000} rows"),
        ("drift_renotify", "0h"),
    ],
)
def test_other_values_are_refused(name: str, value: str) -> None:
    """The message names the parameter and what it has."""
    with pytest.raises(InvalidArgumentError, match=f"parameters: {name} .*'"):
        parse_config(_parameter(name, value), model="m")
