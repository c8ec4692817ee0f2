"""What a model configuration may say without effect: it is kept, and told of.

A field that Bascule does not act on must be told of, or somebody relies on it. Fields that would be
served wrongly are refused instead (`refusals`).
"""

from collections.abc import Iterator
from typing import Final

from google.protobuf.message import Message

from protos.generated import model_config_pb2 as pb
from serving.registry.policies import (
    drift_policy,
    fairness_policy,
    label_policy,
    log_policy,
    padding_policy,
    scaling_policy,
)

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
        "cc_model_filenames",
        "parameters",
        "dynamic_batching",
        "response_cache",
        "sequence_batching",
        "ensemble_scheduling",
        "model_transaction_policy",
        "model_warmup",
        "optimization",
        "runtime",
    }
)
ACTING_OPTIMIZATION: Final = frozenset({"graph", "cuda"})
ACTING_PARAMETERS: Final = frozenset(
    {
        "intra_op_thread_count",
        "inter_op_thread_count",
        "execution_mode",
        "enable_mem_arena",
        "enable_mem_pattern",
        "isolation",
        "hardware_profiles",
        *drift_policy.PARAMETERS,
        *fairness_policy.PARAMETERS,
        *log_policy.PARAMETERS,
        *label_policy.PARAMETERS,
        *padding_policy.PARAMETERS,
        *scaling_policy.PARAMETERS,
    }
)
SILENT_BATCHING: Final = ("preserve_ordering",)
SILENT_INSTANCES: Final = ("rate_limiter", "profile", "host_policy")


WHICH_GPUS: Final = "instance_group gpus (which of them: their number counts)"


def ignored_fields(message: pb.ModelConfig) -> Iterator[str]:
    """Yield the names of what a configuration sets and nothing acts on."""
    yield from (name for name in _set_fields(message) if name not in ACTING_FIELDS)
    yield from (
        f"optimization {name}"
        for name in _set_fields(message.optimization)
        if name not in ACTING_OPTIMIZATION
    )
    yield from (
        f"optimization cuda {name}"
        for name in _set_fields(message.optimization.cuda)
        if name != "graphs"
    )
    if message.ensemble_scheduling.max_inflight_requests:
        yield "ensemble_scheduling max_inflight_requests"
    yield from (
        f"parameters {name}" for name in sorted(message.parameters.keys() - ACTING_PARAMETERS)
    )
    if message.HasField("sequence_batching") or message.HasField("ensemble_scheduling"):
        shared = sorted(message.parameters.keys() & fairness_policy.PARAMETERS)
        yield from (f"parameters {name} (its calls wait elsewhere)" for name in shared)
    batching = _set_fields(message.dynamic_batching)
    yield from (f"dynamic_batching {name}" for name in SILENT_BATCHING if name in batching)
    instances = [name for group in message.instance_group for name in _set_fields(group)]
    yield from (f"instance_group {name}" for name in SILENT_INSTANCES if name in instances)
    if "gpus" in instances:
        yield WHICH_GPUS


def _set_fields(message: Message) -> list[str]:
    return [field.name for field, _ in message.ListFields()]
