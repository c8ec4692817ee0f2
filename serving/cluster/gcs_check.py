"""Whether a Ray cluster of others answers at an address, asked before Ray is.

Ray itself tries for minutes, and says nothing meanwhile, where something else listens, or where a
network takes connections for hosts that are not there.
"""

from typing import Final

import grpc

from serving.cluster.ray_process import is_answering
from serving.settings import inherited_environment

METHOD: Final = "/ray.rpc.NodeInfoGcsService/CheckAlive"
ANSWER_LIMIT_S: Final = 10.0
NO_GCS: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""How it fails where there is no GCS; who has no token for one is told something else."""


def is_cluster(address: str) -> bool:
    """Whether a cluster's GCS answers at `host:port` within some seconds."""
    if not is_answering(address):
        return False
    if inherited_environment().get("RAY_USE_TLS", "0").lower() in {"1", "true"}:
        return True  # its keys are Ray's business
    with grpc.insecure_channel(address, (("grpc.enable_http_proxy", 0),)) as channel:
        try:
            channel.unary_unary(METHOD)(b"", timeout=ANSWER_LIMIT_S)
        except grpc.RpcError as error:
            return error.code() not in NO_GCS
    return True
