"""From a version's policy to what a runtime is asked to load."""

from dataclasses import replace
from pathlib import Path

from runtimes.contract import LoadRequest
from runtimes.devices import Device, device
from runtimes.signature import declared_inputs, declared_outputs
from serving.registry.version import VersionSpec


def load_request(spec: VersionSpec, *, threads: int) -> LoadRequest:
    """Say what the runtime shall load, and how.

    Args:
        spec: The version.
        threads: Engine threads.

    Raises:
        InvalidArgumentError: Its device does not exist.
    """
    policy = spec.policy
    configured = policy.configured
    return LoadRequest(
        file=Path(spec.file),
        device=device(policy.device),
        threads=threads,
        declared_inputs=declared_inputs(configured),
        declared_outputs=declared_outputs(configured),
        precision=policy.precision,
        gpu_arena_bytes=policy.gpu_arena_bytes,
        deterministic=policy.deterministic,
        allow_cpu_nodes=policy.allow_cpu_nodes,
        may_use_cpu=policy.may_use_cpu,
        may_execute=spec.may_execute,
        options=policy.options,
    )


def on_device(request: LoadRequest, where: Device) -> LoadRequest:
    """Ask for the same on this device, and on no other."""
    return replace(request, device=where, may_use_cpu=False)
