"""Triton's ensemble_scheduling → the steps of an ensemble."""

from collections.abc import Mapping, Sequence
from typing import Final

from protos.generated import model_config_pb2 as pb
from runtimes.contract import TensorSpec
from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.registry.ensemble import LATEST, EnsembleStep, TensorLink, require_whole

PLATFORM: Final = "ensemble"
FORMAT: Final = "ensemble"
"""What a version's format is called that has steps in place of a model file."""
OF_MODELS: Final = {
    "instance_group": "set it in its steps' models",
    "default_model_filename": "it has no file",
    "optimization": "set it in its steps' models",
    "model_warmup": "set it in its steps' models",
}
"""Fields that say something of a model file, with what to do instead."""


def is_ensemble(message: pb.ModelConfig) -> bool:
    """Whether a configuration is one of an ensemble.

    Raises:
        InvalidArgumentError: It says so, and contradicts itself.
    """
    has_steps = message.HasField("ensemble_scheduling")
    is_named = message.platform == PLATFORM
    if has_steps and (message.backend or message.platform not in ("", PLATFORM)):
        raise InvalidArgumentError(
            f"ensemble_scheduling: an ensemble has no backend, and the platform '{PLATFORM}'; got "
            f"backend '{message.backend[:60]}' and platform '{message.platform[:60]}'"
        )
    if is_named and not has_steps:
        raise InvalidArgumentError(
            f"platform '{PLATFORM}' needs ensemble_scheduling with a step for each model"
        )
    return has_steps


def ensemble_steps(
    message: pb.ModelConfig, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> tuple[EnsembleStep, ...]:
    """Read an ensemble's steps.

    Args:
        message: The configuration.
        inputs: Its inputs, as read.
        outputs: Its outputs, as read.

    Raises:
        InvalidArgumentError: They cannot work together; the message names step and tensor.
        UnsupportedError: It asks for what an ensemble does not have.
    """
    _refuse_fields_of_models(message)
    scheduling = message.ensemble_scheduling
    if not scheduling.step:
        raise InvalidArgumentError("ensemble_scheduling has no step: name one for each model")
    if not inputs or not outputs:
        raise InvalidArgumentError(
            "an ensemble must list its inputs and outputs: no model file says what they are"
        )
    steps = tuple(_step(number, step) for number, step in enumerate(scheduling.step, start=1))
    for number, step in enumerate(steps, start=1):
        if step.model == message.name:
            raise InvalidArgumentError(f"ensemble_scheduling: step {number} is the ensemble itself")
    require_whole(steps, [tensor.name for tensor in inputs], [tensor.name for tensor in outputs])
    return steps


def _refuse_fields_of_models(message: pb.ModelConfig) -> None:
    for field, _ in message.ListFields():
        if field.name in OF_MODELS:
            raise UnsupportedError(f"{field.name} is not for an ensemble: {OF_MODELS[field.name]}")
    tensors: tuple[pb.ModelInput | pb.ModelOutput, ...] = (*message.input, *message.output)
    for tensor in tensors:
        if tensor.HasField("reshape"):
            raise UnsupportedError(
                f"tensor '{tensor.name[:80]}': an ensemble cannot reshape it; set reshape in the "
                "model that reads or writes it"
            )


def _step(number: int, step: pb.ModelEnsembling.Step) -> EnsembleStep:
    where = f"ensemble_scheduling: step {number}"
    if not step.model_name:
        raise InvalidArgumentError(f"{where} names no model: model_name is missing")
    if step.model_version < LATEST:
        raise InvalidArgumentError(
            f"{where} has model_version {step.model_version}: a version, or -1 for the latest, is "
            "expected"
        )
    if step.model_namespace:
        raise UnsupportedError(
            f"{where} has model_namespace '{step.model_namespace[:80]}': models have one "
            "namespace here; leave it out"
        )
    for role in ("input_map", "output_map"):
        if not getattr(step, role):
            raise InvalidArgumentError(f"{where} (model '{step.model_name[:80]}') has no {role}")
    return EnsembleStep(
        model=step.model_name,
        version=step.model_version or LATEST,
        inputs=_links(step.input_map),
        outputs=_links(step.output_map),
    )


def _links(entries: Mapping[str, str]) -> tuple[TensorLink, ...]:
    return tuple(TensorLink(own=own, shared=entries[own]) for own in sorted(entries))
