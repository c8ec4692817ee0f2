"""Triton's model configuration: protobuf text (config.pbtxt) → records.

`parse_config` reads what an operator wrote, and refuses what Bascule would serve differently from
what was asked. What clients see of it is `completion`'s.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from google.protobuf import text_format

from protos.generated import model_config_pb2 as pb
from runtimes.contract import TensorSpec
from runtimes.errors import InvalidArgumentError, UnsupportedError
from runtimes.misspelling import did_you_mean
from serving.registry.formats import format_of_backend
from serving.registry.model_config.details import (
    MAX_THREADS,
    check_image_formats,
    count_parameter,
    datatype_of,
    labels_of,
    options_of,
    reshapes_of,
    warmups_of,
)
from serving.registry.model_config.ensembles import FORMAT as ENSEMBLE
from serving.registry.model_config.ensembles import ensemble_steps, is_ensemble
from serving.registry.model_config.ignored import ignored_fields
from serving.registry.model_config.padding import configured_padding
from serving.registry.model_config.queueing import queue_policy
from serving.registry.model_config.refusals import refuse_files_by_gpu, refuse_unserved
from serving.registry.model_config.sequences import sequence_policy, sequence_queue
from serving.registry.policies.drift_policy import drift_policy
from serving.registry.policies.label_policy import label_policy
from serving.registry.policies.log_policy import log_policy
from serving.registry.policies.scaling_policy import MAX_REPLICAS, ScalingPolicy, scaling_policy
from serving.registry.version import Isolation, ServingPolicy

MAX_CONFIG_CHARACTERS: Final = 1 << 20
DEFAULT_POLICY: Final = ServingPolicy()

UNKNOWN_FIELD: Final = re.compile(r'Message type "([\w.]+)" has no field named "([^"]+)"')
"""How protobuf says it."""

# A quoted string, a comment, or the field's name as a word of its own.
SAYS_MAX_BATCH: Final = re.compile(
    r"""(?:"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\#[^\n]*)|(\bmax_batch_size\b)"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionChoice:
    """Which versions of a repository model are served: the highest `latest`, or `specific` ones."""

    latest: int | None = 1
    """None: all that exist."""
    specific: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfiguration:
    """What a model's configuration says."""

    policy: ServingPolicy = DEFAULT_POLICY
    text: str = ""
    """The configuration as protobuf text, canonical: `parse_config` of it gives the same."""
    format: str | None = None
    """A name of `runtimes.catalogue`; None: unsaid, to be told from the model file."""
    model_file: str = ""
    """File name inside the version's folder; empty: the format's default."""
    versions: VersionChoice = VersionChoice()


def parse_config(
    text: str, *, model: str, source: str = "config.pbtxt", gpu: bool = False
) -> ModelConfiguration:
    """Read a configuration.

    Args:
        text: Protobuf text of an `inference.ModelConfig`; empty text says nothing.
        model: The model's name, which the text must not contradict.
        source: What to call the text in messages: a path.
        gpu: The node's engines can use a GPU: what KIND_AUTO, and saying nothing, mean.

    Raises:
        InvalidArgumentError: It is no model configuration, or contradicts itself.
        UnsupportedError: It asks for something that Bascule does not serve.
    """
    message = read_message(text, source)
    try:
        return _configuration(message, text, model, gpu=gpu)
    except (InvalidArgumentError, UnsupportedError) as error:
        raise type(error)(f"{source}: {error.message}") from error


def read_message(text: str, source: str) -> pb.ModelConfig:
    """Read protobuf text, without judging it.

    Raises:
        InvalidArgumentError: It is no model configuration.
    """
    if len(text) > MAX_CONFIG_CHARACTERS:
        raise InvalidArgumentError(
            f"{source}: {len(text)} characters are too many for a model configuration, at most "
            f"{MAX_CONFIG_CHARACTERS}"
        )
    message = pb.ModelConfig()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        detail = re.sub(r"^\d+:\d+ : ", "", str(error))
        if hint := _nearest(detail):
            detail = detail.removesuffix(".") + hint
        place = f"line {error.GetLine()}" if error.GetLine() else "at its end"
        raise InvalidArgumentError(
            f"{source}, {place}: no model configuration in protobuf text: {detail}"
        ) from error
    except (RecursionError, UnicodeError) as error:
        raise InvalidArgumentError(
            f"{source}: no model configuration in protobuf text: {type(error).__name__}"
        ) from error
    return message


def _nearest(detail: str) -> str:
    """Return the field that an unknown one may stand for, as a question; empty if none is near."""
    unknown = UNKNOWN_FIELD.search(detail)
    if unknown is None:
        return ""
    fields = pb.DESCRIPTOR.pool.FindMessageTypeByName(unknown[1]).fields_by_name
    return did_you_mean(unknown[2], fields, "; ")


def _configuration(
    message: pb.ModelConfig, text: str, model: str, *, gpu: bool
) -> ModelConfiguration:
    if message.name and message.name != model:
        raise InvalidArgumentError(
            f"its name is '{message.name[:80]}' and the model's is '{model}': make them equal, or "
            "leave the name out"
        )
    message.name = model
    refuse_unserved(message)
    has_steps = is_ensemble(message)
    found = None if has_steps else format_of_backend(message.backend, message.platform)
    rows = message.max_batch_size if message.max_batch_size or says_max_batch(text) else None
    if rows is not None and rows < 0:
        raise InvalidArgumentError(f"max_batch_size is {rows}: 0 or more is expected")
    groups = message.instance_group
    replica_count, on_gpu = _instances(groups, gpu=gpu)
    check_image_formats(message.input)
    if message.HasField("sequence_batching") and rows is None:
        rows = 0  # nobody could prove on made-up inputs that rows of sequences may be joined
    inputs, outputs = _specs(message.input, "input"), _specs(message.output, "output")
    if on_gpu:
        refuse_files_by_gpu(message)
    parameters = {name: value.string_value for name, value in message.parameters.items()}
    scaling = _scaling(parameters, replica_count, has_steps=has_steps)
    policy = ServingPolicy(
        max_batch_rows=rows,
        inputs=inputs,
        outputs=outputs,
        ensemble=ensemble_steps(message, inputs, outputs) if has_steps else (),
        queue=queue_policy(message.dynamic_batching, rows, parameters),
        response_cache=message.response_cache.enable,
        replica_count=replica_count if scaling is None else scaling.max_replicas,
        scaling=scaling,
        device="cuda" if on_gpu and not has_steps else "cpu",
        may_use_cpu=on_gpu and not _names_a_device(groups),
        threads=count_parameter(message, "intra_op_thread_count", MAX_THREADS),
        isolation=_isolation(message, is_scaled=scaling is not None),
        profiles=_profiles(message),
        input_reshapes=reshapes_of(message.input),
        output_reshapes=reshapes_of(message.output),
        labels=labels_of(message.output),
        warmups=warmups_of(message),
        options=options_of(message),
        log=log_policy(parameters),
        labelled=label_policy(parameters),
        drift=drift_policy(parameters),
        padding=configured_padding(message, parameters),
        ignored=tuple(ignored_fields(message)),
    )
    policy = _in_sequences(policy, message)
    # Proto3 text cannot tell an explicit 0 from silence, so it is written out.
    batch_line = "max_batch_size: 0\n" if rows == 0 else ""
    return ModelConfiguration(
        policy=policy,
        text=text_format.MessageToString(message) + batch_line,
        format=ENSEMBLE if has_steps else (found.name if found else None),
        model_file=_model_file(message.default_model_filename),
        versions=_version_choice(message.version_policy),
    )


def _scaling(
    parameters: Mapping[str, str], replica_count: int, *, has_steps: bool
) -> ScalingPolicy | None:
    scaling = scaling_policy(parameters, replica_count)
    if scaling is not None and has_steps:
        raise UnsupportedError(
            "min_replicas, max_replicas: an ensemble's steps run in one worker, and the number of "
            "these is fixed: set instance_group in its steps' models"
        )
    return scaling


def _in_sequences(policy: ServingPolicy, message: pb.ModelConfig) -> ServingPolicy:
    """Serve a model with sequences by one worker, which has their state (`worker.sequences`)."""
    rows = policy.max_batch_rows or 0
    sequences = sequence_policy(message, max_batch_rows=rows, instance_count=policy.replica_count)
    if sequences is None:
        return policy
    if policy.response_cache:
        raise UnsupportedError(
            "response_cache: the answer to a step of a sequence depends on the steps before it and "
            "is not kept: take response_cache out"
        )
    if policy.scaling is not None:
        raise UnsupportedError(
            "sequence_batching: one worker keeps the state of sequences, which cannot be scaled: "
            "take out min_replicas and max_replicas"
        )
    shared = policy.isolation is Isolation.SHARED
    return replace(
        policy,
        inputs=(*policy.inputs, *sequences.fed_specs()) if policy.inputs else (),
        outputs=(*policy.outputs, *sequences.kept_specs()) if policy.outputs else (),
        queue=sequence_queue(message, rows),
        replica_count=1,
        isolation=Isolation.SHARED if shared else Isolation.DEDICATED,
        sequences=sequences,
    )


def says_max_batch(text: str) -> bool:
    """Whether a configuration sets max_batch_size, be it to 0 (which proto3 cannot tell)."""
    return any(match[1] for match in SAYS_MAX_BATCH.finditer(text))


def _specs(
    tensors: Sequence[pb.ModelInput] | Sequence[pb.ModelOutput], role: str
) -> tuple[TensorSpec, ...]:
    specs = tuple(_spec(tensor, role) for tensor in tensors)
    seen: set[str] = set()
    for spec in specs:
        if spec.name in seen:
            raise InvalidArgumentError(f"{role} '{spec.name[:80]}' is listed twice")
        seen.add(spec.name)
    return specs


def _spec(tensor: pb.ModelInput | pb.ModelOutput, role: str) -> TensorSpec:
    if not tensor.name:
        raise InvalidArgumentError(f"an {role} has no name")
    datatype = datatype_of(tensor.data_type, role, tensor.name)
    for dim in tensor.dims:
        if dim == 0 or dim < -1:
            raise InvalidArgumentError(
                f"{role} '{tensor.name[:80]}' has {dim} in dims: a positive size, or -1 for a free "
                "one, is expected"
            )
    return TensorSpec(
        name=tensor.name,
        datatype=datatype,
        shape=tuple(tensor.dims),
        optional=isinstance(tensor, pb.ModelInput) and tensor.optional,
    )


def _instances(groups: Sequence[pb.ModelInstanceGroup], *, gpu: bool) -> tuple[int, bool]:
    """Return how many replicas, and whether they run on GPUs."""
    group = pb.ModelInstanceGroup
    if not groups:
        return 1, gpu
    kinds = {_instance_kind(item, gpu=gpu) for item in groups}
    if len(kinds) > 1:
        raise UnsupportedError(
            "instance_group: replicas on both CPU and GPU are not served: keep one kind"
        )
    count = sum(max(item.count, 1) * max(len(item.gpus), 1) for item in groups)
    if min(item.count for item in groups) < 0 or count > MAX_REPLICAS:
        raise InvalidArgumentError(
            f"instance_group: {count} replicas asked for: 1 to {MAX_REPLICAS} are expected"
        )
    return count, kinds == {group.KIND_GPU}


def _names_a_device(groups: Sequence[pb.ModelInstanceGroup]) -> bool:
    return any(group.gpus or group.kind != group.KIND_AUTO for group in groups)


def _instance_kind(group: pb.ModelInstanceGroup, *, gpu: bool) -> int:
    if group.kind == pb.ModelInstanceGroup.KIND_MODEL:
        raise UnsupportedError(
            "instance_group: KIND_MODEL is not served: write KIND_CPU, KIND_GPU or KIND_AUTO"
        )
    if group.secondary_devices or group.passive:
        raise UnsupportedError("instance_group: secondary devices or passive groups are not served")
    if group.kind == pb.ModelInstanceGroup.KIND_AUTO:
        on_gpu = gpu or bool(group.gpus)
        return pb.ModelInstanceGroup.KIND_GPU if on_gpu else pb.ModelInstanceGroup.KIND_CPU
    return group.kind


def _isolation(message: pb.ModelConfig, *, is_scaled: bool) -> Isolation:
    """Read who shares its worker; what is scaled has workers of its own, to be counted for it."""
    if "isolation" not in message.parameters:
        return Isolation.DEDICATED if is_scaled else Isolation.AUTO
    text = message.parameters["isolation"].string_value.strip().lower()
    try:
        isolation = Isolation(text)
    except ValueError as error:
        raise InvalidArgumentError(
            f"parameters: isolation is '{text[:40]}': write auto, dedicated or shared"
        ) from error
    if is_scaled and isolation is Isolation.SHARED:
        raise InvalidArgumentError(
            "parameters: isolation is shared, and a shared worker is not scaled for one model: "
            "take out isolation, or min_replicas and max_replicas"
        )
    return Isolation.DEDICATED if is_scaled else isolation


def _profiles(message: pb.ModelConfig) -> tuple[str, ...]:
    if "hardware_profiles" not in message.parameters:
        return ()
    names = message.parameters["hardware_profiles"].string_value.split(",")
    return tuple(name.strip() for name in names if name.strip())


def _model_file(name: str) -> str:
    if "/" in name or "\\" in name or "\0" in name or name.startswith("."):
        raise InvalidArgumentError(
            f"default_model_filename '{name[:80]}' must be the name of a file in the version's "
            "folder"
        )
    return name


def _version_choice(policy: pb.ModelVersionPolicy) -> VersionChoice:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return VersionChoice(latest=None)
    if choice == "specific":
        if not policy.specific.versions or min(policy.specific.versions) < 1:
            raise InvalidArgumentError("version_policy: specific needs versions from 1 upwards")
        return VersionChoice(specific=tuple(sorted(set(policy.specific.versions))))
    # A latest without a number means one, as it does for Triton.
    return VersionChoice(latest=max(policy.latest.num_versions, 1))
