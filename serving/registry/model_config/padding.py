"""What a configuration says of padding, and where it cannot be had at all.

Whether it fits the model's tensors is seen when that is loaded (`serving.wire.padding_fit`).
"""

from collections.abc import Mapping

from protos.generated import model_config_pb2 as pb
from runtimes.errors import UnsupportedError
from serving.registry.model_config.ensembles import is_ensemble
from serving.registry.policies.padding_policy import (
    AXES,
    BUCKETS,
    CUT_AXES,
    PaddingPolicy,
    padding_policy,
)


def configured_padding(
    message: pb.ModelConfig, parameters: Mapping[str, str]
) -> PaddingPolicy | None:
    """Read what is padded; None: nothing.

    Args:
        message: The configuration.
        parameters: Its parameters, as texts.

    Raises:
        InvalidArgumentError: What it says is incomplete, or no padding.
        UnsupportedError: It is an ensemble, or has sequences, or reshapes what it pads.
    """
    policy = padding_policy(parameters)
    if policy is None:
        return None
    if is_ensemble(message):
        raise UnsupportedError(
            f"parameters: {BUCKETS}: an ensemble runs nothing itself; set it in its steps' models"
        )
    if message.HasField("sequence_batching"):
        raise UnsupportedError(
            f"parameters: {BUCKETS}: steps of sequences are not padded, as a state might follow "
            f"their length: take out {BUCKETS}, or sequence_batching"
        )
    for name, axes, tensors in (
        (AXES, policy.padded, message.input),
        (CUT_AXES, policy.cut, message.output),
    ):
        reshaped = {tensor.name for tensor in tensors if tensor.HasField("reshape")}
        found = next((one.tensor for one in axes if one.tensor in reshaped), None)
        if found is not None:
            raise UnsupportedError(
                f"parameters: {name} names '{found[:80]}', which has a reshape: in the model its "
                "axes are others; take one of the two out"
            )
    return policy
