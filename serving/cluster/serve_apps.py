"""Pools as Serve applications: what `RayPools` asks of Serve. Every call blocks its thread."""

from collections.abc import Sequence

import ray
from ray import serve
from ray.serve.api import RunTarget
from ray.serve.exceptions import RayServeException

from serving.cluster.names import POOL_PREFIX, Instance, pool_app_name
from serving.cluster.replica import pool_app
from serving.errors import NotReadyError
from serving.rollout.ports import PoolSpec

SERVE_FAULTS = (ray.exceptions.RayError, RayServeException, RuntimeError, TimeoutError, ValueError)


class ServePoolApps:
    """Implements `serving.cluster.adapter.PoolApps`."""

    def __init__(self, instance: Instance) -> None:
        """Hand this instance to every replica."""
        self._instance = instance

    def running(self) -> frozenset[str]:
        """Return the pools that Serve has an application for."""
        return frozenset(
            name.removeprefix(POOL_PREFIX)
            for name in serve.status().applications
            if name.startswith(POOL_PREFIX)
        )

    def deploy(self, specs: Sequence[PoolSpec]) -> None:
        """Start pools, or change their replica counts, in one go and without waiting for them.

        Raises:
            NotReadyError: Serve did not take it.
        """
        advertised = ray.cluster_resources().keys()
        targets = [
            RunTarget(
                target=pool_app(self._instance, spec, advertised),
                name=pool_app_name(spec.pool),
                route_prefix=None,
            )
            for spec in specs
        ]
        try:
            serve.run_many(
                targets,
                wait_for_ingress_deployment_creation=False,
                wait_for_applications_running=False,
            )
        except SERVE_FAULTS as error:
            names = ", ".join(spec.pool for spec in specs)
            raise NotReadyError(f"Serve did not take the pools {names}: {error}") from error

    def delete(self, pool: str) -> None:
        """Drain and end a pool; returns when it is gone.

        Raises:
            NotReadyError: It is not gone.
        """
        try:
            serve.delete(pool_app_name(pool))
        except SERVE_FAULTS as error:
            raise NotReadyError(f"pool {pool} did not end: {error}") from error
