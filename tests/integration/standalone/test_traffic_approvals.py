"""Approvals on a real instance: what waits gets no traffic, and goes on by itself when it may."""

from pathlib import Path

import pytest

from serving.ids import VersionKey
from serving.registry.aliases import Author
from serving.registry.approvals import approve, require_approvals
from serving.registry.bundles.packing import PackOrder, pack_bundle
from serving.registry.store import Registry
from tests.fakes.bundles import PACKED_UTC
from tests.fakes.models import tiny
from tests.fakes.standalone_server import Server, serving


@pytest.fixture(name="home")
def short_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose sockets' paths are short enough."""
    return tmp_path_factory.mktemp("h")


def push(registry: Registry, folder: Path, version: int) -> VersionKey:
    """Ann pushes a version of `m`."""
    file = folder / str(version) / "model.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(tiny())
    order = PackOrder(model_file=file, name="m", version=version, created_utc=PACKED_UTC)
    registry.push(pack_bundle(order, folder / f"bundle-{version}").folder, "ann")
    return VersionKey("m", version)


def rollout(server: Server) -> dict[str, object]:
    """The first rollout."""
    found = server.admin("GET", "/v1/rollouts/1")["rollout"]
    assert isinstance(found, dict)
    return found


def test_nothing_is_live_before_its_approval(home: Path, tmp_path: Path) -> None:
    """The first version, a promotion and a rollout wait; the approval lets each of them go on."""
    with Registry(home) as registry:
        require_approvals(registry, "m", 1, Author(who="eve"))
        first = push(registry, tmp_path, 1)
        with serving(home) as server:
            server.admin("POST", "/v1/sync", {})
            status = server.admin("GET", "/v1/status")
            assert (status["ready"], status["live"]) == (True, {"m": None})
            assert server.answer("m", "1")[1] == "1"

            approve(registry, first, Author(who="bob"))
            server.admin("POST", "/v1/sync", {})
            assert server.admin("GET", "/v1/status")["live"] == {"m": 1}

            second = push(registry, tmp_path, 2)
            server.admin("POST", "/v1/sync", {})
            plan = server.admin("POST", "/v1/models/m/rollout/plan", {"version": 2, "bake_s": 7})
            assert (plan["missing_approval_count"], plan["misfit"]) == (1, "")
            assert float(str(plan["at_least_s"])) >= 7
            assert server.admin("GET", "/v1/status")["live"] == {"m": 1}
            server.admin("POST", "/v1/models/m/rollout", {"version": 2, "bake_s": 0})
            note = "waits for 1 approval (bascule approve m:2)"
            server.until(lambda: rollout(server)["note"] == note, "the note of what it waits for")
            assert server.answer("m")[1] == "1"

            approve(registry, second, Author(who="bob"))
            server.until(lambda: rollout(server)["state"] == "COMPLETE", "the rollout's end")
            assert server.answer("m")[1] == "2"
            require_approvals(registry, "m", 2, Author(who="eve"))
            server.admin("POST", "/v1/models/m/rollback", {})
            assert server.answer("m")[1] == "1"
