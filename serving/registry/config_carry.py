"""What passes between Triton's configuration and a bundle: which fields act, which only stay.

A bundle keeps a configuration whole, so nothing of it is lost; but a field that Bascule does not
act on must be told of, or somebody relies on it. (Fields that would be served wrongly are refused
by `parse_config`, not listed here.)
"""

from collections.abc import Iterator
from typing import Final

from google.protobuf import text_format
from google.protobuf.message import Message

from protos.generated import model_config_pb2 as pb
from serving.registry.config_completion import config_message
from serving.registry.triton_config import parse_config
from serving.registry.version import ServedVersion

ACTING_FIELDS: Final = frozenset(
    {
        "name",
        "platform",
        "backend",
        "max_batch_size",
        "input",
        "output",
        "version_policy",
        "instance_group",
        "default_model_filename",
        "parameters",
        "dynamic_batching",
        "model_transaction_policy",
    }
)
ACTING_PARAMETERS: Final = frozenset({"intra_op_thread_count", "isolation", "hardware_profiles"})
SILENT_BATCHING: Final = ("preserve_ordering",)
SILENT_INSTANCES: Final = ("rate_limiter", "profile", "host_policy")
WITHOUT_EFFECT: Final = "kept in the configuration, without effect"


def without_effect(text: str, model: str) -> tuple[str, ...]:
    """Return what a configuration says and Bascule does not act on, one line each.

    Args:
        text: The configuration, as `parse_config` accepts it.
        model: The model's name.

    Raises:
        BasculeError: `parse_config` refuses it.
    """
    return tuple(f"{field}: {WITHOUT_EFFECT}" for field in _silent(_message(text, model)))


def label_files(text: str, model: str) -> tuple[str, ...]:
    """Return the label files that a configuration names, in its order, each once.

    Raises:
        BasculeError: `parse_config` refuses it.
    """
    outputs = _message(text, model).output
    return tuple(dict.fromkeys(one.label_filename for one in outputs if one.label_filename))


def exported_config(text: str, model: str, served: ServedVersion) -> str:
    """Return a configuration for Triton: what was written, completed with what the model is.

    What the operator wrote of instances and versions stays as it was.

    Args:
        text: The bundle's configuration; may be empty.
        model: The model's name.
        served: What running the model showed.

    Raises:
        BasculeError: `parse_config` refuses it.
    """
    written = _message(text, model)
    message = config_message(text, model, served)
    for field in ("instance_group", "version_policy"):
        message.ClearField(field)
    message.instance_group.extend(written.instance_group)
    if written.HasField("version_policy"):
        message.version_policy.CopyFrom(written.version_policy)
    # Proto3 text cannot tell an explicit 0 from silence, so it is written out.
    rows = "" if message.max_batch_size else "max_batch_size: 0\n"
    return text_format.MessageToString(message) + rows


def same_config(one: str, other: str, model: str) -> bool:
    """Whether two configurations of a model say the same.

    Raises:
        BasculeError: `parse_config` refuses one.
    """
    return _message(one, model) == _message(other, model)


def _message(text: str, model: str) -> pb.ModelConfig:
    message = pb.ModelConfig()
    text_format.Parse(parse_config(text, model=model).text, message)
    return message


def _silent(message: pb.ModelConfig) -> Iterator[str]:
    yield from (name for name in _set_fields(message) if name not in ACTING_FIELDS)
    yield from (
        f"parameters {name}" for name in sorted(message.parameters.keys() - ACTING_PARAMETERS)
    )
    batching = _set_fields(message.dynamic_batching)
    yield from (f"dynamic_batching {name}" for name in SILENT_BATCHING if name in batching)
    instances = [name for group in message.instance_group for name in _set_fields(group)]
    yield from (f"instance_group {name}" for name in SILENT_INSTANCES if name in instances)
    yield from (f"input {one.name} format" for one in message.input if one.format)
    labelled = (one for one in message.output if one.label_filename)
    yield from (f"output {one.name} label_filename" for one in labelled)


def _set_fields(message: Message) -> list[str]:
    return [field.name for field, _ in message.ListFields()]
