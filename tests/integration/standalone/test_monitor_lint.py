"""`bascule monitor lint` asks a running instance how many rows come, and judges by that."""

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.monitor.drift.calibration import FalseAlarms
from serving.monitor.drift.columns import Role
from serving.monitor.drift.learning import Tensor, learn_tensors
from serving.monitor.drift.storage import to_bytes
from serving.registry.bundles.packing import PackOrder, pack_bundle
from serving.registry.store import Registry
from tests.fakes.models import tiny
from tests.fakes.standalone_server import Server, free_ports, serving
from tests.fakes.webhook_receiver import SECRET

CONTRACT = """
contract: 1
inputs: {x: {max_null_rate: 0.05}}
window_policy: {window: 10m, min_rows: 500}
"""


def push(home: Path) -> None:
    """Put a version into the registry that has a contract and a reference of 600 rows."""
    rows = np.random.default_rng(1).normal(size=(600, 16)).astype(np.float32)
    tensor = Tensor(name="x", role=Role.INPUT, values=rows)
    profile = learn_tensors([tensor], is_ordered=False, allowed=FalseAlarms(replicates=20))
    (home / "contract.yaml").write_text(CONTRACT)
    (home / "reference.drift").write_bytes(to_bytes(profile))
    (home / "model.onnx").write_bytes(tiny())
    order = PackOrder(
        model_file=home / "model.onnx",
        name="m",
        version=1,
        created_utc=datetime.now(UTC),
        contract_file=home / "contract.yaml",
        reference_file=home / "reference.drift",
    )
    pack_bundle(order, home / "bundle")
    with Registry(home) as registry:
        registry.push(home / "bundle", "ann")


def linted(server: Server, *arguments: str) -> dict[str, str]:
    """Run the lint; what it found, by code."""
    bascule = str(Path(sys.executable).with_name("bascule"))
    own = os.environ | {"BASCULE_HOME": str(server.home)}  # noqa: TID251  own process
    ended = subprocess.run(
        [bascule, "monitor", "lint", "--json", "--measure-s", "0.1", *arguments],
        env=own,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    report: dict[str, Any] = json.loads(ended.stdout)
    assert (report["is_running"], report["versions"]) == (True, ["m:1"])
    said: dict[str, str] = {}
    for one in report["findings"]:
        said[one["code"]] = f"{said.get(one['code'], '')}{one['message']}\n"
    return said


def test_a_running_instance_is_judged_by_its_rows(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Without traffic a window is never full; with much, false alarms come too often."""
    home = tmp_path_factory.mktemp("h")
    push(home)
    (port,) = free_ports(1)
    (home / "secret").write_text(SECRET)
    (home / "events.yaml").write_text(
        f"receivers: [{{name: ops, url: 'http://127.0.0.1:{port}/', secret_file: secret}}]\n"
    )
    with serving(home) as server:
        server.until(lambda: server.answer("m")[1] == "1", "it serves")
        silent = linted(server)
        with socket.create_server(("127.0.0.1", port)):
            busy = linted(server, "--rows-per-s", "100")

    assert "it never rings" in silent["ML05"]
    assert f"127.0.0.1:{port}: Connection refused" in silent["ML07"]
    assert set(busy) == {"ML04"}
    assert "every 32 minutes" in busy["ML04"]
