"""How a replica's worker is started: its addresses, its devices, its command line."""

import os
import socket
import sys
from pathlib import Path

import ray

from serving.cluster.names import Instance
from serving.edge.routes import WorkerAddress
from serving.rollout.host import WorkerLaunch
from serving.supervise import ChildSpec, child_environment


def worker_launch(instance: Instance, pool: str, worker: str) -> WorkerLaunch:
    """Describe the worker of this replica, on this node, with the devices that Ray gave it."""
    settings = instance.settings
    folder = settings.run_dir / "w"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    context = ray.get_runtime_context()
    devices = ",".join(context.get_accelerator_ids().get("GPU", ()))
    address = WorkerAddress(
        worker,
        context.get_node_id(),
        str(folder / f"{worker}.sock"),
        # A cluster of several users may have several nodes: edges on others come by TCP.
        "" if instance.owns_cluster else f"{ray.util.get_node_ip_address()}:{_free_port()}",
    )
    recorder = folder / f"{worker}.rec"
    # Always set, or a model that asked for no GPU would see all of them.
    environment = child_environment(settings.home, instance.instance, CUDA_VISIBLE_DEVICES=devices)
    child = ChildSpec(
        name=worker,
        argv=(*_command(instance, address, recorder),),
        env=environment,
        log_file=settings.log_dir / f"worker-{worker}.log",
    )
    return WorkerLaunch(address=address, pool=pool, child=child, recorder=recorder, devices=devices)


def _command(instance: Instance, address: WorkerAddress, recorder: Path) -> tuple[str, ...]:
    settings = instance.settings
    return (
        sys.executable,
        "-m",
        "serving.worker",
        f"--worker={address.worker}",
        f"--socket={address.socket}",
        *((f"--tcp={address.tcp}",) if address.tcp else ()),
        f"--parent={os.getpid()}",
        f"--recorder={recorder}",
        f"--max-request-bytes={settings.max_request_bytes}",
        f"--drain-s={settings.drain_s}",
        f"--log-level={settings.log_level}",
        f"--server-id={settings.server_id}",
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
