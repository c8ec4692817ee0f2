"""`python -m serving.cluster.deploy up|down`: the one short-lived program that speaks to Ray.

Ray and Serve read their variables while they are imported, so this is a process of its own whose
environment was made by `ray_process.ray_environment`; the command line itself never imports Ray.
An `Errand` comes on standard input; what failed goes to standard error in one sentence.
"""

import logging
import sys

import ray
from ray import serve

from runtimes.errors import BasculeError
from serving.cluster.controller import controller_app
from serving.cluster.edge import edge_app
from serving.cluster.names import CONTROLLER_APP, EDGE_APP, Errand, decode_errand, is_ours
from serving.errors import AlreadyExistsError


def bring_up(errand: Errand) -> None:
    """Start Serve without proxies, the controller and the edges.

    Raises:
        AlreadyExistsError: The cluster serves another instance.
    """
    serve.start(proxy_location="Disabled")
    others = [name for name in serve.status().applications if is_ours(name)]
    if others:
        raise AlreadyExistsError(
            f"this Ray cluster already runs a Bascule instance ({others[0]}): "
            "run `bascule down` with its BASCULE_HOME first, or use another cluster"
        )
    serve.run(controller_app(errand.instance), name=CONTROLLER_APP, route_prefix=None)
    serve.run(edge_app(errand.instance), name=EDGE_APP, route_prefix=None)


def bring_down(errand: Errand) -> None:
    """End the edges first, so that no call is accepted any more, then the rest."""
    running = [name for name in serve.status().applications if is_ours(name)]
    ordered = sorted(running, key=lambda name: (name != EDGE_APP, name != CONTROLLER_APP))
    for name in ordered[:1] if errand.instance.owns_cluster else ordered:
        serve.delete(name)
    if errand.instance.owns_cluster or not serve.status().applications:
        serve.shutdown()


def main() -> None:
    """Do one errand."""
    errand = decode_errand(sys.stdin.buffer.read())
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        ray.init(
            address=errand.address,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        {"up": bring_up, "down": bring_down}[sys.argv[1]](errand)
    except BasculeError as error:
        sys.exit(error.message)
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        sys.exit(f"Ray at {errand.address}: {first[:300]}")
    ray.shutdown()


if __name__ == "__main__":
    main()
