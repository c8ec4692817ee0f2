"""Versions that pin packages: their workers run with them, or fail and say why."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from serving.cli.lock_options import dependency_requirements
from serving.environments.store import Environments
from serving.registry.bundles.bundle import Bundle
from serving.registry.bundles.packing import PackOrder, pack_bundle
from serving.registry.store import Registry
from tests.fakes.bundles import CONFIG, PACKED_UTC
from tests.fakes.models import tiny
from tests.fakes.wheels import use_only, write_wheel
from tests.integration.standalone.test_serve import Server, serving

Fields = Mapping[str, object]


@pytest.fixture(name="home")
def short_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose sockets' paths are short enough."""
    return tmp_path_factory.mktemp("h")


@pytest.fixture(name="wheels")
def only_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, which is all that pip can reach."""
    use_only(tmp_path / "wheels", monkeypatch)
    return tmp_path / "wheels"


def pack(
    folder: Path, name: str, lock: str, dependencies: str, *, file: str = "model.onnx"
) -> Bundle:
    """Pack the tiny model, under any format's file name, with a lock."""
    folder.mkdir()
    (folder / file).write_bytes(tiny())
    (folder / "lock.txt").write_text(lock)
    order = PackOrder(
        model_file=folder / file,
        config=CONFIG if file.endswith(".echo") else "",
        name=name,
        version=1,
        created_utc=PACKED_UTC,
        lock_file=folder / "lock.txt",
        requirements=dependency_requirements(dependencies),
    )
    return pack_bundle(order, folder / "bundle")


def push(home: Path, *bundles: Bundle) -> None:
    """Put bundles into the registry of a home."""
    with Registry(home) as registry:
        for bundle in bundles:
            registry.push(bundle.folder, "test")


def record(server: Server, model: str) -> Fields:
    """What the status says of a model's one version."""
    (found,) = [
        one for one in server.admin("GET", "/v1/status")["versions"] if one["model"] == model
    ]
    return found


def differences(server: Server, model: str) -> list[dict[str, str]]:
    """What the status says of the environment that a model runs in."""
    found: Any = record(server, model)["findings"]
    return [one for one in found if one["code"] == "BP-E12"]


def test_a_version_runs_with_the_packages_that_it_pins(
    home: Path, tmp_path: Path, wheels: Path
) -> None:
    """Its worker's interpreter is its environment's, which says what it has; others run in ours."""
    write_wheel(wheels, "proof-package", "1.2.3")
    push(home, pack(tmp_path / "a", "pinned", "proof-package==1.2.3", "isolate"))
    push(home, pack(tmp_path / "b", "plain", "proof-package==1.2.3", "ignore"))

    with serving(home) as server:
        pinned, plain = record(server, "pinned"), record(server, "plain")
        assert server.answer("pinned") == server.answer("plain")
        pids = server.worker_pids()
        (environment,) = Environments(home).listed()
        assert psutil.Process(pids[pinned["pool"]]).cmdline()[0] == str(environment.python)
        assert psutil.Process(pids[plain["pool"]]).cmdline()[0] != str(environment.python)

    note = f"runs in environment {environment.key}: proof-package 1.2.3"
    assert note in pinned["served"]["notes"]
    assert note not in plain["served"]["notes"]
    assert (pinned["isolation"], plain["isolation"]) == ("dedicated", "shared")


def test_findings_are_of_what_an_isolated_worker_has(
    home: Path, tmp_path: Path, wheels: Path
) -> None:
    """Status compares with packing what the worker computes with, not what the node has."""
    write_wheel(wheels, "triton", "99.1")
    push(home, pack(tmp_path / "a", "pinned", "triton==99.1", "isolate", file="model.echo"))
    push(home, pack(tmp_path / "b", "plain", "triton==99.1", "ignore", file="model.echo"))

    with serving(home) as server:
        server.until(lambda: differences(server, "pinned"), "a finding")
        (told,), of_plain = differences(server, "pinned"), differences(server, "plain")
        metrics = server.metrics()

    assert told["severity"] == "info"
    assert "→ 99.1" in told["message"]
    assert not of_plain
    line = 'bascule_preflight_findings{model="pinned",version="1",code="BP-E12",severity="info"} 1'
    assert line in metrics


@pytest.mark.usefixtures("wheels")
def test_a_version_whose_packages_cannot_be_had_fails_alone(home: Path, tmp_path: Path) -> None:
    """Its reason names package and remedy; the other models are served."""
    push(home, pack(tmp_path / "a", "pinned", "none-such==3", "isolate"))
    push(home, pack(tmp_path / "b", "strict", "none-such==3", "refuse"))
    push(home, pack(tmp_path / "c", "warned", "none-such==3", ""))

    with serving(home) as server:
        assert server.answer("warned")[1] == "1"
        found = {name: record(server, name) for name in ("pinned", "strict", "warned")}
        pools = server.worker_pids().keys()

    assert found["pinned"]["state"] == found["strict"]["state"] == "UNAVAILABLE"
    assert "No matching distribution found for none-such==3" in found["pinned"]["reason"]
    assert "python -m pip install none-such==3" in found["strict"]["reason"]
    assert found["warned"]["state"] == "READY"
    assert found["warned"]["reason"].startswith(
        "BP-E08 none-such 3 is pinned and none is installed"
    )
    assert pools == {found["warned"]["pool"]}


@pytest.mark.long
def test_a_real_package_of_another_version(home: Path, tmp_path: Path) -> None:
    """NumPy as pip gets it, in another version than ours: the worker has it, and answers alike."""
    push(home, pack(tmp_path / "a", "pinned", "numpy==2.3.5", "isolate"))
    push(home, pack(tmp_path / "b", "plain", "numpy==2.3.5", "ignore"))

    with serving(home) as server:
        notes = record(server, "pinned")["served"]["notes"]
        assert server.answer("pinned") == server.answer("plain")

    assert any(note.endswith(": numpy 2.3.5") for note in notes)
