"""A promotion that callers would not survive, on a real instance."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from serving.registry.store import Registry
from tests.fakes.models import simple
from tests.fakes.standalone_server import LIMIT_S, put_model, serving


@pytest.fixture(name="home")
def short_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose sockets' paths are short enough."""
    return tmp_path_factory.mktemp("h")


def promote(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `bascule promote` on the instance of a home."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("bascule")), "promote", "a", *arguments],
        env=os.environ | {"BASCULE_HOME": str(home)},  # noqa: TID251  a test's own process
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )


def test_other_inputs_need_force_and_a_reason(home: Path, tmp_path: Path) -> None:
    """The live version stays; forced, the new one is live, and the audit log tells who and why."""
    put_model(tmp_path, "a", 1)
    put_model(tmp_path, "a", 2, content=simple())
    with serving(home, "--model-repository", str(tmp_path)) as server:
        server.admin("POST", "/v1/models/a/promote", {"version": 2, "force": True, "reason": "-"})

        refused = promote(home, "--to", "1")
        live = server.admin("GET", "/v1/status")["live"]
        forced = promote(home, "--to", "1", "--force", "--reason", "callers were changed")

        assert (refused.returncode, live) == (1, {"a": 2})
        assert "a:1 would break callers of the live version 2" in refused.stderr
        assert "input 'INPUT0' is removed" in refused.stderr
        assert forced.returncode == 0, forced.stderr
        assert server.admin("GET", "/v1/status")["live"] == {"a": 1}
    with Registry(home) as registry:
        newest = registry.events("a")[0]
    assert (newest.who, newest.reason) == (
        pwd.getpwuid(os.getuid()).pw_name,
        "callers were changed",
    )
    assert "input 'INPUT0' is removed" in newest.detail
