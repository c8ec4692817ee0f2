"""`bascule serve` refuses what preflight finds before any worker sees it, and says what is odd."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.models.broken import broken_models
from benchmarks.models.layout import write_model
from runtimes.gpu_probe import SystemNvml, probe_gpus
from runtimes.preflight.waivers import Waiver
from runtimes.threads import available_cpus
from serving.registry.store import Registry
from serving.registry.waivers import grant
from tests.fakes.standalone_server import Server, put_model, serving

ON_GPU = bool(probe_gpus(SystemNvml()).gpus)


def prefer(repository: Path, model: str, profiles: str) -> None:
    """Let a model ask for hardware profiles."""
    config = repository / model / "config.pbtxt"
    config.write_text(
        config.read_text()
        + f'\nparameters {{ key: "hardware_profiles" value {{ string_value: "{profiles}" }} }}\n'
    )


def ask_for_threads(repository: Path, model: str, count: int) -> None:
    """Let a model ask for engine threads."""
    config = repository / model / "config.pbtxt"
    config.write_text(
        config.read_text()
        + f'\nparameters {{ key: "intra_op_thread_count" value {{ string_value: "{count}" }} }}\n'
    )


@pytest.fixture(name="server", scope="module")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over good, odd and broken models."""
    repository = tmp_path_factory.mktemp("r")
    for model in broken_models():
        if model.name in {"bad_operator", "bad_external_path", "bad_opset", "bad_ir"}:
            write_model(repository, model)
    for name, profiles in (("plain", ""), ("second", "cuda, cpu"), ("gpu_only", "cuda")):
        put_model(repository, name)
        if profiles:
            prefer(repository, name, profiles)
    put_model(repository, "misspelt")
    prefer(repository, "misspelt", "cuda-amper")
    put_model(repository, "greedy")
    ask_for_threads(repository, "greedy", 5 * available_cpus())
    with serving(tmp_path_factory.mktemp("h"), "--model-repository", str(repository)) as server:
        yield server


def record(server: Server, model: str) -> dict[str, Any]:
    """What status says of a model's version."""
    versions: Any = server.admin("GET", "/v1/status")["versions"]
    (found,) = [version for version in versions if version["model"] == model]
    return dict(found)


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("bad_opset", "BP-O01"),
        ("bad_ir", "BP-O02"),
        ("bad_operator", "BP-O03"),
        ("bad_external_path", "BP-F04"),
        ("misspelt", "BP-H10"),
        pytest.param("gpu_only", "BP-H08", marks=pytest.mark.skipif(ON_GPU, reason="has a GPU")),
    ],
)
def test_what_cannot_work_gets_no_worker(server: Server, model: str, code: str) -> None:
    """The version has failed with the check's code, and no pool was made for it."""
    found = record(server, model)

    assert (found["state"], found["pool"]) == ("UNAVAILABLE", None)
    assert found["reason"].startswith(f"{code} ")
    assert [item["code"] for item in found["findings"] if item["severity"] == "error"] == [code]


def test_the_others_serve(server: Server) -> None:
    """A refused model is no other model's trouble."""
    assert server.answer("plain")[1] == "1"


@pytest.mark.skipif(ON_GPU, reason="has a GPU")
def test_a_second_choice_serves_and_is_told(server: Server) -> None:
    """It runs on the CPU because its configuration allows that, and status says so."""
    found = record(server, "second")

    assert (found["state"], found["served"]["device"]) == ("READY", "cpu")
    assert [item["code"] for item in found["findings"]] == ["BP-H09"]
    assert server.answer("second")[1] == "1"


def test_a_waiver_lets_a_running_server_load_it(server: Server) -> None:
    """Waived while the server runs, the version is loaded, and status tells who allowed what."""
    assert record(server, "greedy")["reason"].startswith("BP-H05 ")
    with Registry(server.home) as registry:
        until_utc = registry.clock.utc_now() + timedelta(days=1)
        allowed = Waiver(code="BP-H05", model="greedy", reason="r", by="ana", until_utc=until_utc)
        grant(registry, allowed)
    server.admin("POST", "/v1/sync")

    found = record(server, "greedy")
    assert found["state"] == "READY"
    assert [(one["code"], one["waiver"]) for one in found["findings"]] == [("BP-H05", str(allowed))]
