"""Models that share a worker of a real instance get another one when it has too much to do."""

from collections.abc import Callable

import numpy as np
import pytest
import tritonclient.http as triton_http

from runtimes.threads import available_cpus
from tests.fakes.models import slow
from tests.fakes.standalone_server import Server, put_model, serving
from tests.fakes.steady_callers import calling

ROW = [1.0, 2.0, 3.0, 4.0]


def ask(server: Server, model: str) -> Callable[[], list[float]]:
    """Call a model that works for some 50 ms and returns its input."""

    def answer() -> list[float]:
        with triton_http.InferenceServerClient(server.http) as client:
            x = triton_http.InferInput("x", [1, 4], "FP32")
            x.set_data_from_numpy(np.asarray([ROW], np.float32))
            n = triton_http.InferInput("n", [1], "INT64")
            n.set_data_from_numpy(np.asarray([1], np.int64))
            row: list[float] = client.infer(model, [x, n]).as_numpy("y")[0].tolist()
            return row

    return answer


def pools(server: Server) -> dict[str, str]:
    """Where calls of each model go."""
    versions = server.admin("GET", "/v1/status")["versions"]
    return {one["model"]: one["pool"] for one in versions}  # type: ignore[attr-defined]


@pytest.mark.skipif(available_cpus() < 2, reason="a second worker needs a second CPU")
def test_two_busy_models_do_not_stay_in_one_worker(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody who calls one of them notices; a third, which nobody calls, stays."""
    repository = tmp_path_factory.mktemp("models")
    for model in ("one", "other", "third"):
        put_model(repository, model, content=slow())
        (repository / model / "config.pbtxt").write_text("max_batch_size: 0\n")
    monkeypatch.setenv("BASCULE_SLOW_RUN_S", "10")  # else each has a worker of its own anyway
    home = tmp_path_factory.mktemp("h")
    with serving(home, "--model-repository", str(repository)) as server:
        (shared,) = set(pools(server).values())
        with calling(ask(server, "one"), 2) as one, calling(ask(server, "other"), 2) as other:
            server.until(lambda: pools(server)["one"] != pools(server)["other"], "they are apart")
            was_asked = len(one), len(other)
            server.until(
                lambda: len(one) > was_asked[0] and len(other) > was_asked[1], "both still answer"
            )
        assert pools(server)["third"] == shared
    assert all(answer == ROW for answer in [*one, *other])
