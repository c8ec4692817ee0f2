"""Which GPUs this process may hand to its workers."""

from serving.edge.node_gpus import node_gpus
from serving.settings import inherited_environment


def visible_gpus() -> tuple[str, ...]:
    """Return the GPUs in CUDA's own spelling; empty where there is no driver, or none is meant."""
    return node_gpus(inherited_environment().get("CUDA_VISIBLE_DEVICES"))
