"""A repository on Ray in control of operators: ensembles, shared memory, and what a kill leaves."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException

from serving.monitor.drift.calibration import FalseAlarms
from serving.monitor.drift.columns import Role
from serving.monitor.drift.learning import Tensor, learn_tensors
from serving.monitor.drift.storage import to_bytes
from tests.e2e.ray_instance import ANSWER, COMMAND_LIMIT_S, ROW, Instance, instance, until
from tests.fakes import models
from tests.fakes.ensemble_folders import AGAIN, PAIR, SUM_AND_DIFFERENCE, ensemble, pair
from tests.fakes.shared_memory import get, put, shared_object

pytestmark = pytest.mark.e2e

X = np.arange(32, dtype=np.int32).reshape(2, 16)
Y = np.full((2, 16), 3, np.int32)
ENSEMBLES = ("a", "b", "e")
CONTRACT = "contract: 1\ninputs: {x: {max: 1000, on_violation: reject}}\n"
WIRES = pytest.mark.parametrize("library", [triton_http, triton_grpc], ids=["http", "grpc"])


@pytest.fixture(scope="module")
def running() -> Iterator[Instance]:
    """An instance that was told to load `plain` and the ensemble `e`, with shared memory on."""
    with instance() as made:
        repository = made.home / "models"
        for name in ("a", "b"):
            (repository / name / "1").mkdir(parents=True)
            (repository / name / "1" / "model.onnx").write_bytes(models.simple())
            (repository / name / "config.pbtxt").write_text(PAIR)
        ensemble(repository, "e", pair(SUM_AND_DIFFERENCE, AGAIN))
        (repository / "e" / "contract.yaml").write_text(CONTRACT)
        (repository / "e" / "reference.drift").write_bytes(reference_of_e())
        explicit = (
            "--model-control-mode",
            "explicit",
            "--load-model",
            "e",
            "--load-model",
            "plain",
        )
        started = made.up("--no-dashboard", "--system-shared-memory", *explicit)
        assert started.returncode == 0, started.stderr
        yield made


def reference_of_e() -> bytes:
    """A profile of rows that are spread around those that the tests ask with."""
    rows = np.random.default_rng(1).integers(-40, 40, (600, 16), dtype=np.int32)
    tensors = [
        Tensor(name=name, role=Role.INPUT, values=values + rows)
        for name, values in (("x", X[:1]), ("y", Y[:1]))
    ]
    allowed = FalseAlarms(replicates=10, horizon_rows=1_000)
    return to_bytes(learn_tensors(tensors, is_ordered=True, allowed=allowed))


@WIRES
def test_a_data_contract_refuses_on_every_node(running: Instance, library: Any) -> None:  # noqa: ANN401  no types
    """It travels to the workers with the version: a bad row is refused, with its place."""
    inputs = []
    for name, values in (("x", X * 100), ("y", Y)):
        inputs.append(library.InferInput(name, [2, 16], "INT32"))
        inputs[-1].set_data_from_numpy(values.astype(np.int32))
    with (
        client_of(running, library) as client,
        pytest.raises(InferenceServerException, match="input 'x' row 0 is above the maximum 1000"),
    ):
        client.infer("e", inputs)


def client_of(running: Instance, library: Any) -> Any:  # noqa: ANN401  tritonclient has no types
    """A client of a library."""
    if library is triton_grpc:
        return triton_grpc.InferenceServerClient(f"127.0.0.1:{running.grpc}")
    return triton_http.InferenceServerClient(
        f"127.0.0.1:{running.http}", network_timeout=COMMAND_LIMIT_S
    )


def asked_of_e(client: Any, library: Any) -> tuple[Any, Any]:  # noqa: ANN401  no types
    """Ask the ensemble; returns p and q."""
    inputs = []
    for name, values in (("x", X), ("y", Y)):
        inputs.append(library.InferInput(name, [2, 16], "INT32"))
        inputs[-1].set_data_from_numpy(values)
    result = client.infer("e", inputs)
    return result.as_numpy("p"), result.as_numpy("q")


def killed_controller(running: Instance) -> None:
    """Kill the controller's actor; return when the next one answers."""
    until(lambda: running.processes("ControllerReplica"), "a controller")
    (victim,) = running.processes("ControllerReplica")
    victim.kill()
    until(
        lambda: [p.pid for p in running.processes("ControllerReplica")] not in ([], [victim.pid]),
        "another controller",
    )
    until(lambda: running.status()["ready"] is True, "its status")


@WIRES
def test_an_ensemble_answers_on_ray(running: Instance, library: Any) -> None:  # noqa: ANN401  no types
    """Its models came with it and share one worker with it, on both wires."""
    with client_of(running, library) as client:
        p, q = asked_of_e(client, library)

    assert (p == 2 * X).all()
    assert (q == 2 * Y).all()
    pools = {running.version(model)["pool"] for model in ENSEMBLES}
    assert len(pools) == 1
    assert len(running.processes(f"--worker {pools.pop()}-")) == 1


def test_an_ensemble_comes_back_with_its_worker(running: Instance) -> None:
    """A killed worker is restarted with the ensemble and all of its models."""
    pool = running.version("e")["pool"]
    (worker,) = running.processes(f"--worker {pool}-")
    worker.kill()
    worker.wait()

    with client_of(running, triton_grpc) as client:
        until(lambda: answers(client), "an answer of the new worker")


def answers(client: Any) -> bool:  # noqa: ANN401  no types
    """Whether the ensemble answers, and right."""
    try:
        p, _ = asked_of_e(client, triton_grpc)
    except InferenceServerException:
        return False
    return bool((p == 2 * X).all())


@WIRES
def test_tensors_travel_in_shared_memory_on_ray(running: Instance, library: Any) -> None:  # noqa: ANN401  no types
    """Workers read and write a client's region, one that started after it was registered, too."""
    x, y = library.InferInput("x", [1, 16], "FP32"), library.InferRequestedOutput("y")
    x.set_shared_memory("region", ROW.nbytes)
    y.set_shared_memory("region", ANSWER.nbytes, ROW.nbytes)
    with shared_object(256) as key, client_of(running, library) as client:
        client.register_system_shared_memory("region", key, 256)
        try:
            for _ in ("first worker", "the next one"):
                put(key, ROW.tobytes() + bytes(ANSWER.nbytes))
                client.infer("plain", [x], outputs=[y])
                assert get(key, ANSWER.nbytes, ROW.nbytes) == ANSWER.tobytes()
                (worker,) = running.processes(f"--worker {running.version('plain', 2)['pool']}-")
                worker.kill()
                worker.wait()
                until(lambda: running.predict()["model_version"] == "2", "the next worker")
        finally:
            client.unregister_system_shared_memory("region")


def test_drift_is_noticed_and_outlives_the_controller(running: Instance) -> None:
    """Rows that never vary raise alarms; the controller that comes next knows them, and counts."""

    def watched() -> Any:  # noqa: ANN401  JSON
        return running.admin("GET", "/v1/models/e/drift")[0]  # type: ignore[index]  # a list

    with client_of(running, triton_http) as client:
        for _ in range(200):
            asked_of_e(client, triton_http)
    until(lambda: watched()["alarms"], "an alarm")
    known = {alarm["id"] for alarm in watched()["alarms"]}
    killed_controller(running)
    until(lambda: watched()["rows"] > 0, "rows were heard of again")
    until(lambda: watched()["worker_count"] == 1, "by the one worker")
    until(lambda: {alarm["id"] for alarm in watched()["alarms"]} >= known, "it knows the alarms")


def test_loads_and_unloads_outlive_the_controller(running: Instance) -> None:
    """The next controller wants what was loaded since the start, and not what was unloaded."""
    with client_of(running, triton_http) as client:
        client.load_model("pair")
        client.unload_model("e", unload_dependents=True)
        pool = running.version("pair", 2)["pool"]
        until(lambda: len(running.processes(f"--worker {pool}-")) == 2, "both replicas")
        workers = {process.pid for process in running.processes("--worker ")}
        killed_controller(running)
        running.admin("POST", "/v1/sync")

        assert client.is_model_ready("pair")
        assert [client.is_model_ready(model) for model in ENSEMBLES] == [False] * 3
        assert workers >= {process.pid for process in running.processes("--worker ")}
        client.load_model("e")
        assert client.is_model_ready("e")
        client.unload_model("pair")


def test_a_retired_version_stays_retired(running: Instance) -> None:
    """What an operator took out of service, the next controller does not bring back."""
    assert running.run("unload", "plain:1").returncode == 0
    killed_controller(running)
    running.admin("POST", "/v1/sync")

    assert running.version("plain", 2)["state"] == "READY"
    listed: Any = running.status()["versions"]
    assert [v["state"] for v in listed if (v["model"], v["version"]) == ("plain", 1)] in (
        [],
        ["UNAVAILABLE"],
    )


def test_down_leaves_nothing_without_the_raylet(running: Instance) -> None:
    """The last test here: a part of Ray that died hard does not keep the rest from ending."""
    running.kill("raylet/raylet")
    running.assert_ended()
