"""How a replica's worker is started: its addresses, its devices, its log."""

import ray

from serving.cluster.names import Instance
from serving.edge.node_gpus import seen_devices, shared_gpus
from serving.edge.routes import WorkerAddress
from serving.rollout.host import WorkerLaunch
from serving.rollout.template_keeper import template_socket
from serving.rollout.worker_argv import worker_argv
from serving.rollout.worker_environment import environment_order
from serving.supervise import ChildSpec, child_environment


def worker_launch(
    instance: Instance, pool: str, worker: str, lock_file: str, port: int
) -> WorkerLaunch:
    """Describe the worker of this replica, on this node, with the devices that Ray gave it.

    Args:
        instance: The instance.
        pool: The pool.
        worker: The id of the worker.
        lock_file: The lock of its environment; empty: ours.
        port: Its TCP port; 0: it needs none.
    """
    settings = instance.settings
    folder = settings.run_dir / "w"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    context = ray.get_runtime_context()
    devices = ",".join(context.get_accelerator_ids().get("GPU", ()))
    address = WorkerAddress(
        worker,
        context.get_node_id(),
        str(folder / f"{worker}.sock"),
        f"{ray.util.get_node_ip_address()}:{port}" if port else "",
    )
    recorder = folder / f"{worker}.recorder"
    gpus = shared_gpus(settings)
    # Always set, or a model that asked for no GPU would see all of them.
    environment = child_environment(
        settings.home,
        instance.instance,
        CUDA_VISIBLE_DEVICES=seen_devices(settings, devices, gpus),
    )
    child = ChildSpec(
        name=f"worker {worker}",
        argv=worker_argv(settings, address, recorder, devices, gpus),
        env=environment,
        log_file=settings.log_dir / f"{worker}.log",
    )
    return WorkerLaunch(
        address=address,
        pool=pool,
        child=child,
        recorder=recorder,
        devices=devices,
        template=template_socket(settings),
        environment=environment_order(settings, lock_file, child),
    )
