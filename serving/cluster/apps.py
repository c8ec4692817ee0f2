"""How Bascule's Serve applications are built; each deployment's module binds its own.

None has a route prefix: no prediction passes through Serve. Actors ask for no CPU, because the
work is done by the processes that they supervise; a pool's actors ask for its GPUs.

Serve restarts an application's replicas whenever its code version differs, and `serve.run` makes
up a new one at each call. So the version is fixed here from what the replicas are built of: saying
the same pool again changes nothing, and another replica count is applied in place.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import msgspec
from ray import serve

from runtimes.profile import PROFILE_SHARE
from serving.cluster.names import Instance
from serving.own_version import own_version

HEALTH_PERIOD_S: Final = 1.0
HEALTH_LIMIT_S: Final = 5.0
STOP_EXTRA_S: Final = 15.0
"""What stopping takes besides the calls in flight, before Serve kills the actor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a replica needs of the node that Ray places it on."""

    gpu_count: float = 0
    resource: str = ""
    """Ray's custom resource of a hardware profile: only nodes that fit it have some."""


NOTHING: Final = Demand()


def application(
    actor: type,
    instance: Instance,
    *arguments: str,
    demand: Demand = NOTHING,
    **options: object,
) -> serve.Application:
    """Bind a deployment to its arguments: the instance first, then `arguments`.

    Args:
        actor: The class whose objects are the replicas.
        instance: Handed to every replica.
        arguments: Handed to every replica, after the instance; part of the code version.
        demand: What each replica needs of its node.
        options: Further options of the deployment, such as its replica count.
    """
    actor_options: dict[str, object] = {"num_cpus": 0, "num_gpus": demand.gpu_count}
    if demand.resource:
        actor_options["resources"] = {demand.resource: PROFILE_SHARE}
    if not instance.owns_cluster:  # our own Ray's processes have the marks from their start
        marks = {
            "BASCULE_HOME": str(instance.settings.home),
            "BASCULE_INSTANCE": instance.instance,
        }
        actor_options["runtime_env"] = {"env_vars": marks}
    deployment = serve.deployment(actor, name=actor.__name__).options(
        ray_actor_options=actor_options,
        health_check_period_s=HEALTH_PERIOD_S,
        health_check_timeout_s=HEALTH_LIMIT_S,
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=instance.settings.drain_s + STOP_EXTRA_S,
        **options,
    )
    # Serve has no public way to say the code version in an imperative deployment.
    deployment._version = _code_version(instance, arguments, actor_options)  # noqa: SLF001
    return deployment.bind(instance, *arguments)


def _code_version(
    instance: Instance, arguments: tuple[str, ...], actor_options: dict[str, object]
) -> str:
    built_of = (own_version(), instance, arguments, actor_options)
    return hashlib.sha256(msgspec.json.encode(built_of, enc_hook=str)).hexdigest()[:16]
