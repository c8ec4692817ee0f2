"""`python -m serving.cluster.deploy up|down`: the one short-lived program that speaks to Ray.

Ray and Serve read their variables while they are imported, so this is a process of its own whose
environment was made by `ray_process.ray_environment`; the command line itself never imports Ray.
An `Errand` comes on standard input, after the imports, so that those can be done while Ray starts.
What failed goes to standard error in one sentence.
"""

import logging
import sys

import ray
from ray import serve
from ray.serve.api import RunTarget

from runtimes.errors import BasculeError
from serving.cluster.controller import controller_app
from serving.cluster.edge import edge_app
from serving.cluster.names import CONTROLLER_APP, EDGE_APP, Errand, decode_errand, is_ours
from serving.errors import AlreadyExistsError, NotReadyError


def bring_up(errand: Errand) -> None:
    """Start Serve without proxies, the controller and the edges.

    Raises:
        AlreadyExistsError: The cluster serves another instance.
        NotReadyError: One of them does not start.
    """
    serve.start(proxy_location="Disabled")
    others = [name for name in serve.status().applications if is_ours(name)]
    if others:
        raise AlreadyExistsError(
            f"this Ray cluster already runs a Bascule instance ({others[0]}): "
            "run `bascule down` with its BASCULE_HOME first, or use another cluster"
        )
    applications = {
        CONTROLLER_APP: controller_app(errand.instance),
        EDGE_APP: edge_app(errand.instance),
    }
    try:
        serve.run_many(
            [
                RunTarget(target=application, name=name, route_prefix=None)
                for name, application in applications.items()
            ]
        )
    except RuntimeError as error:
        raise NotReadyError(_reason() or str(error)) from error


def bring_down(errand: Errand) -> None:
    """End the edges first, so that no call is accepted any more, then the rest."""
    running = [name for name in serve.status().applications if is_ours(name)]
    ordered = sorted(running, key=lambda name: (name != EDGE_APP, name != CONTROLLER_APP))
    for name in ordered[:1] if errand.instance.owns_cluster else ordered:
        serve.delete(name)
    if errand.instance.owns_cluster or not serve.status().applications:
        serve.shutdown()


def _reason() -> str:
    """The last words of an actor that did not start: Serve keeps its traceback as a message."""
    messages = [
        deployment.message
        for application in serve.status().applications.values()
        for deployment in application.deployments.values()
    ]
    lines = [line.strip() for message in messages for line in message.splitlines()]
    last = next((line for line in reversed(lines) if line), "")
    return last.removeprefix("RuntimeError: ")


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
