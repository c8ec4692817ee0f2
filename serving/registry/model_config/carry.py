"""What passes between Triton's configuration and a bundle.

A bundle keeps a configuration whole, so nothing of it is lost; what of it nothing acts on is told.
"""

from typing import Final

from google.protobuf import text_format

from protos.generated import model_config_pb2 as pb
from serving.registry.model_config.completion import config_message
from serving.registry.model_config.parsing import parse_config
from serving.registry.version import WARMUP_FOLDER, ServedVersion

WITHOUT_EFFECT: Final = "kept in the configuration, without effect"


def without_effect(text: str, model: str) -> tuple[str, ...]:
    """Return what a configuration says and Bascule does not act on, one line each.

    Args:
        text: The configuration, as `parse_config` accepts it.
        model: The model's name.

    Raises:
        BasculeError: `parse_config` refuses it.
    """
    return tuple(
        f"{field}: {WITHOUT_EFFECT}" for field in parse_config(text, model=model).policy.ignored
    )


def label_files(text: str, model: str) -> tuple[str, ...]:
    """Return the label files that a configuration names, in its order, each once.

    Raises:
        BasculeError: `parse_config` refuses it.
    """
    outputs = _message(text, model).output
    return tuple(dict.fromkeys(one.label_filename for one in outputs if one.label_filename))


def shared_data(text: str, model: str) -> tuple[str, ...]:
    """Return what a configuration names besides labels, by paths in the model's folder, each once.

    That is the data of warm-up samples, and what sequences start with.

    Raises:
        BasculeError: `parse_config` refuses it.
    """
    policy = parse_config(text, model=model).policy
    warmups = (one.file for sample in policy.warmups for one in sample.inputs if one.file)
    states = () if policy.sequences is None else policy.sequences.files
    return tuple(dict.fromkeys((*(f"{WARMUP_FOLDER}/{name}" for name in warmups), *states)))


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
