"""What changes under a running instance is told: by an event, in status, as metrics."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.fakes.pushed import push_versions
from tests.fakes.site_packages import install
from tests.fakes.standalone_server import Server, free_ports, serving
from tests.fakes.webhook_receiver import SECRET, Receiver, receiving

UNDER = 'bascule_environment_issues{kind="under_worker"}'
BETWEEN = 'bascule_environment_changes_total{kind="between_starts"}'


def environment(server: Server) -> dict[str, list[dict[str, Any]]]:
    """What `bascule environment m --json` prints."""
    bascule = str(Path(sys.executable).with_name("bascule"))
    found: dict[str, list[dict[str, Any]]] = orjson.loads(
        subprocess.run(
            [bascule, "environment", "m", "--json"],
            env=os.environ | {"BASCULE_HOME": str(server.home)},  # noqa: TID251  own process
            check=True,
            capture_output=True,
        ).stdout
    )
    return found


def told(receiver: Receiver) -> list[dict[str, Any]]:
    """What came of libraries that changed; this machine's load may be told of, too."""
    events: list[dict[str, Any]] = [one.event for one in receiver.came]
    return [one for one in events if one["data"]["kind"] == "under_worker"]


def has_metric(server: Server, line: str) -> bool:
    """Whether the metrics have a line."""
    return f"\n{line}\n" in f"\n{server.metrics()}\n"


def prepared(home: Path, site: Path, port: int) -> None:
    """Push versions, install a library, and name a receiver of all that is told."""
    install(site, "0.5.0")
    push_versions(home)
    (home / "secret").write_text(SECRET)
    (home / "events.yaml").write_text(
        f"receivers: [{{name: ops, url: 'http://127.0.0.1:{port}/', secret_file: secret, "
        "types: ['dev.bascule.env.*']}]\n"
    )


def test_a_library_that_is_replaced_is_told_under_workers_and_after_a_restart(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which one, from which version to which; put back it is over; a new start is told, too."""
    home, site = tmp_path_factory.mktemp("h"), tmp_path_factory.mktemp("site")
    inherited = os.environ.get("PYTHONPATH", "")  # noqa: TID251  a test's own process
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{inherited}")
    monkeypatch.setenv("BASCULE_ENVIRONMENT_LOOK_S", "0.1")
    port = free_ports(1)[0]
    prepared(home, site, port)

    with receiving(port) as receiver, serving(home) as server:
        server.until(lambda: has_metric(server, f"{UNDER} 0"), "it looks")
        server.until((home / "seen.json").is_file, "what runs was seen")
        first = environment(server)
        for version, count in (("0.6.0", 1), ("0.5.0", 0), ("0.7.0", 1)):
            install(site, version)
            server.until(lambda n=count: has_metric(server, f"{UNDER} {n}"), version)
        under = environment(server)
        server.until(lambda: len(told(receiver)) >= 3, "all was told")
    with serving(home) as server:
        server.until(lambda: has_metric(server, f"{BETWEEN} 1"), "the start is compared")
        after = environment(server)

    data = [one["data"] for one in told(receiver)]
    assert [one["state"] for one in data[:3]] == ["begun", "ended", "begun"]
    assert data[0]["changes"] == [{"field": "ml_dtypes", "before": "0.5.0", "after": "0.6.0"}]
    assert (under["issues"][-1]["changes"][0]["after"], data[0]["audience"]) == ("0.7.0", "infra")
    last = after["history"][-1]
    assert (last["kind"], last["state"]) == ("between_starts", "noted")
    assert "ml_dtypes 0.5.0 → 0.7.0" in last["reason"]
    assert after["versions"][0]["fingerprint"] != first["versions"][0]["fingerprint"]
