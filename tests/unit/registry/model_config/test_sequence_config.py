"""What `sequence_batching` of a configuration means, and what of it is refused."""

import msgspec
import pytest

from runtimes.datatypes import Datatype
from runtimes.errors import BasculeError, InvalidArgumentError, UnsupportedError
from serving.registry.model_config.carry import shared_data
from serving.registry.model_config.completion import config_message
from serving.registry.model_config.parsing import parse_config
from serving.registry.policies.sequence_policy import ControlKind, SequencePolicy
from serving.registry.version import Isolation, ServedVersion, ServingPolicy
from tests.fakes.sequence_models import ACCUMULATOR_CONFIG, HISTORY_CONFIG

START = "control { kind: CONTROL_SEQUENCE_START int32_false_true: [0, 1] }"
STATE = 'state { input_name: "a" output_name: "b" data_type: TYPE_FP32 dims: [2, -1]'


def policy(text: str) -> ServingPolicy:
    """Read a configuration."""
    return parse_config(text, model="m").policy


def sequences(inside: str, before: str = "") -> SequencePolicy:
    """Read a configuration's sequences."""
    found = policy(f"{before} sequence_batching {{ {inside} }}").sequences
    assert found is not None
    return found


def test_the_workers_own_tensors_are_the_models_and_hidden() -> None:
    """Control and state tensors stand beside the listed ones, and clients see none of them."""
    found = policy(ACCUMULATOR_CONFIG)
    assert [spec.name for spec in found.inputs] == ["x", "start", "corrid", "sum_in"]
    assert [spec.name for spec in found.outputs] == ["y", "id", "sum_out"]
    assert found.sequences is not None
    assert found.sequences.hidden_inputs == {"start", "corrid", "sum_in"}
    assert found.sequences.hidden_outputs == {"sum_out"}
    assert [one.kind for one in found.sequences.controls] == [ControlKind.START, ControlKind.CORRID]
    assert found.sequences.controls[1].datatype is Datatype.INT64


def test_one_worker_of_its_own_keeps_the_state() -> None:
    """However many instances are asked for: they are room for sequences."""
    found = policy("instance_group { count: 3 }" + ACCUMULATOR_CONFIG)
    assert (found.replica_count, found.isolation) == (1, Isolation.DEDICATED)
    assert found.sequences is not None
    assert found.sequences.max_sequences == 12


def test_a_policy_reaches_the_worker_as_it_is() -> None:
    """It survives the way to the worker's process."""
    found = policy(ACCUMULATOR_CONFIG)
    assert msgspec.json.decode(msgspec.json.encode(found), type=ServingPolicy) == found


def test_a_canonical_text_says_the_same() -> None:
    """What was parsed and written is read as the same."""
    for text in (ACCUMULATOR_CONFIG, HISTORY_CONFIG):
        found = parse_config(text, model="m")
        assert parse_config(found.text, model="m") == found


def test_direct_gives_each_sequence_a_slot() -> None:
    """As many as rows in a batch; the delay ends when enough slots have a call."""
    text = """max_batch_size: 4 sequence_batching {
      direct { max_queue_delay_microseconds: 2000 minimum_slot_utilization: 0.6 } }"""
    found = policy(text)
    assert found.sequences is not None
    assert found.sequences.max_sequences == 4
    assert found.queue.preferred_batch_rows == (3, 4)
    assert found.queue.max_queue_delay_s == pytest.approx(0.002)


def test_without_a_strategy_or_a_batch_there_is_one_slot() -> None:
    """The default is direct, and a second of silence."""
    found = sequences("")
    assert (found.max_sequences, found.idle_s) == (1, 1.0)


def test_free_dimensions_of_a_state_begin_at_one_or_as_told() -> None:
    """Zeros of the configured size stand for the state before the first call."""
    assert sequences(STATE + "}").states[0].initial_dims == (2, 1)
    told = STATE + " initial_state { data_type: TYPE_FP32 dims: [2, 5] zero_data: true } }"
    assert sequences(told).states[0].initial_dims == (2, 5)


def test_a_sequence_may_start_with_a_file() -> None:
    """It lies in the model's folder `initial_state`, and a bundle takes it along."""
    told = STATE + ' initial_state { dims: [2, 5] data_file: "zero" } }'
    assert sequences(told).files == ("initial_state/zero",)
    text = f"sequence_batching {{ {told} }}"
    assert shared_data(text, "m") == ("initial_state/zero",)


def test_what_clients_see_of_a_configuration_has_no_hidden_tensors() -> None:
    """Even where all tensors of the model are told, as a bundle does."""
    found = policy(ACCUMULATOR_CONFIG)
    served = ServedVersion(
        platform="onnxruntime_onnx",
        backend="onnxruntime",
        inputs=found.inputs,
        outputs=found.outputs,
        max_batch_rows=0,
        device="cpu",
        threads=1,
        load_s=0.0,
        run_s=0.0,
    )
    message = config_message(ACCUMULATOR_CONFIG, "m", served)
    assert [tensor.name for tensor in message.input] == ["x"]
    assert [tensor.name for tensor in message.output] == ["y", "id"]


def test_a_listed_state_is_shown() -> None:
    """An output that is state and is listed, too, is for clients as well."""
    listed = 'output { name: "b" data_type: TYPE_FP32 dims: [2, -1] }'
    assert sequences(STATE + "}", before=listed).hidden_outputs == frozenset()


def test_steps_are_not_answered_from_a_cache() -> None:
    """Their answers depend on more than what they say."""
    with pytest.raises(UnsupportedError, match="response_cache"):
        policy("response_cache { enable: true }" + ACCUMULATOR_CONFIG)


@pytest.mark.parametrize(
    ("inside", "error", "said"),
    [
        ("iterative_sequence: true", UnsupportedError, "iterative"),
        ("oldest { max_candidate_sequences: -1 }", InvalidArgumentError, "1 or more"),
        ("oldest { preferred_batch_size: 9 }", InvalidArgumentError, "between 1 and"),
        ("direct { minimum_slot_utilization: 2 }", InvalidArgumentError, "0 to 1"),
        ("oldest { max_candidate_sequences: 2000000 }", InvalidArgumentError, "at most"),
        (
            'control_input { name: "s" control { kind: CONTROL_SEQUENCE_START } }',
            InvalidArgumentError,
            "exactly one of",
        ),
        (
            'control_input { name: "s" control { int32_false_true: [1] } }',
            InvalidArgumentError,
            "with two values",
        ),
        (
            (
                'control_input { name: "c" control { kind: CONTROL_SEQUENCE_CORRID '
                "data_type: TYPE_FP32 } }"
            ),
            InvalidArgumentError,
            "TYPE_UINT64",
        ),
        (f'control_input {{ name: "s" {START} {START} }}', InvalidArgumentError, "named twice"),
        ('state { input_name: "a" }', InvalidArgumentError, "output_name"),
        ('state { input_name: "a" output_name: "b" }', InvalidArgumentError, "data_type"),
        (
            STATE + ' initial_state { dims: [2, 1] data_file: "../f" } }',
            InvalidArgumentError,
            "inside the model's folder",
        ),
        (STATE + " initial_state { dims: [3, 1] } }", InvalidArgumentError, "must agree"),
        (
            f'control_input {{ name: "x" {START} }}',
            InvalidArgumentError,
            "take it out of the inputs",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(
    inside: str, error: type[BasculeError], said: str
) -> None:
    """The message names the field and the remedy."""
    listed = 'max_batch_size: 4 input { name: "x" data_type: TYPE_INT32 dims: 1 }'
    with pytest.raises(error, match=said):
        sequences(inside, before=listed)
