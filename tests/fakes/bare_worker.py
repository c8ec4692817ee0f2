"""The protocol's models in one bare worker: no HAProxy, no front desk, no controller."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.instance import instance_at
from serving.registry.repository import Repository
from tests.fakes.grpc_stand_in import grpc_in_front_of
from tests.fakes.protocol_models import UNLOADED, write_models
from tests.fakes.protocol_server import Served, connected
from tests.fakes.worker_process import WorkerProcess, request, running_worker


@dataclass(frozen=True)
class ServedByWorker(Served):
    """A bare worker and one client of each kind."""

    worker: WorkerProcess

    def waiting(self, model: str) -> float:
        """Return how many accepted calls of a model do not run yet: as the worker counts them."""
        with self.worker.local() as client:
            reply = client.ask(request("/worker/statistics", method="GET"))
        counted = json.loads(reply.body)
        return float(sum(each["pending_count"] for each in counted if each["model"] == model))


@contextmanager
def served_by_a_worker() -> Iterator[ServedByWorker]:
    """Serve the protocol's models from a worker that was told of them as a controller tells it."""
    with tempfile.TemporaryDirectory(prefix="protocol-") as place:
        folder = Path(place) / "m"
        write_models(folder)
        scans = Repository(folder).scan().models.values()
        specs = [spec for scan in scans if scan.model not in UNLOADED for spec in scan.versions]
        with (
            running_worker(Path(place)) as worker,
            grpc_in_front_of(worker.address) as grpc,
        ):
            worker.apply(*specs)
            host, port = worker.address
            instance = replace(
                instance_at(Path(place), http=f"{host}:{port}", grpc=grpc), metrics=""
            )
            with connected(instance) as clients:
                yield ServedByWorker(
                    instance, clients.http, clients.grpc, clients.stub, clients.channel, worker
                )
