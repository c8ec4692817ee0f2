"""The model configuration as clients see it (Triton's model configuration extension).

What was written, completed with what the worker found out about the model.
"""

from functools import lru_cache

from protos.generated import model_config_pb2 as pb
from runtimes.datatypes import Datatype
from runtimes.devices import device
from serving.registry.formats import FORMATS
from serving.registry.model_config.parsing import read_message
from serving.registry.model_config.sequences import hidden_tensors
from serving.registry.proto_json import message_json
from serving.registry.version import ServedVersion


def config_message(config_text: str, model: str, served: ServedVersion) -> pb.ModelConfig:
    """Return the completed configuration of a loaded version.

    Args:
        config_text: `VersionSpec.config_text`; may be empty.
        model: The model's name.
        served: What the worker says of the loaded version.
    """
    message = pb.ModelConfig()
    message.CopyFrom(_completed(config_text, model, served))
    return message


def config_json(config_text: str, model: str, served: ServedVersion) -> dict[str, object]:
    """Return the completed configuration of a loaded version in the protocol's JSON form."""
    return message_json(_completed(config_text, model, served))


@lru_cache(maxsize=512)
def _completed(config_text: str, model: str, served: ServedVersion) -> pb.ModelConfig:
    """Build the completed message; it is shared, so callers must not change it."""
    message = read_message(config_text, f"configuration of model '{model}'")
    message.name = model
    message.platform = served.platform
    message.backend = served.backend
    message.max_batch_size = served.max_batch_rows
    if message.version_policy.WhichOneof("policy_choice") is None:
        message.version_policy.latest.num_versions = 1
    _complete_tensors(message, served)
    # Batches form by themselves wherever rows may be stacked: the scheduler in force is dynamic.
    if served.max_batch_rows > 1 and message.WhichOneof("scheduling_choice") is None:
        message.dynamic_batching.SetInParent()
    if message.HasField("ensemble_scheduling"):
        return message  # its steps have instances and files
    _complete_instances(message, served)
    if not message.default_model_filename:
        files = [item.default_file for item in FORMATS if item.platform == served.platform]
        message.default_model_filename = files[0] if files else ""
    return message


def _complete_tensors(message: pb.ModelConfig, served: ServedVersion) -> None:
    """List exactly the tensors of the metadata, with what was configured for each."""
    inputs = {tensor.name: tensor for tensor in message.input}
    outputs = {tensor.name: tensor for tensor in message.output}
    # A bundle tells of all tensors of the model, a worker of what clients see.
    hidden_inputs, hidden_outputs = hidden_tensors(message)
    taken = [spec for spec in served.inputs if spec.name not in hidden_inputs]
    given = [spec for spec in served.outputs if spec.name not in hidden_outputs]
    fed = [inputs.get(spec.name, pb.ModelInput(name=spec.name)) for spec in taken]
    given_back = [outputs.get(spec.name, pb.ModelOutput(name=spec.name)) for spec in given]
    tensors: tuple[pb.ModelInput | pb.ModelOutput, ...] = (*fed, *given_back)
    for tensor, spec in zip(tensors, (*taken, *given), strict=True):
        name = "STRING" if spec.datatype is Datatype.BYTES else spec.datatype.value
        tensor.data_type = getattr(pb, f"TYPE_{name}")
        tensor.dims[:] = spec.shape[1:] if served.max_batch_rows else spec.shape
    for one, spec in zip(fed, taken, strict=True):
        one.optional = spec.optional
    built = pb.ModelConfig(input=fed, output=given_back)
    del message.input[:], message.output[:]
    message.MergeFrom(built)


def _complete_instances(message: pb.ModelConfig, served: ServedVersion) -> None:
    where = device(served.device)
    kind = pb.ModelInstanceGroup.KIND_CPU if where.kind == "cpu" else pb.ModelInstanceGroup.KIND_GPU
    if not message.instance_group:
        message.instance_group.add()
    for index, group in enumerate(message.instance_group):
        group.name = group.name or f"{message.name}_{index}"
        group.kind = kind
        group.count = max(group.count, 1)
        if where.kind == "cuda" and not group.gpus:
            group.gpus.append(where.index)
