"""Clients other than tritonclient's blocking ones: its asyncio kinds, KServe's, and Node's.

What a client needs and Bascule does not, is installed once into pytest's cache folder; where the
registry of packages cannot be reached, its test is skipped with the reason.
"""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc.aio as grpc_aio
import tritonclient.http.aio as http_aio

from tests.fakes.models import BIAS, WEIGHT
from tests.fakes.protocol_server import Served, tensors

HERE = Path(__file__).parent
PROTOS = Path(__file__).parents[3] / "protos"
KSERVE = "kserve==0.21.0"
NODE_PACKAGES = ("@grpc/grpc-js@1.14.7", "@grpc/proto-loader@0.8.1")
INSTALL_LIMIT_S = 600
CALL_LIMIT_S = 120
X = np.ones((1, 16), np.float32)
Y = (X @ WEIGHT + BIAS).tolist()
UNKNOWN = "Request for unknown model: 'nobody' is not found"


def install(folder: Path, *command: str) -> None:
    """Run an installation once; a folder that has none says why, as the reason of a skip."""
    done = folder / "installed"
    if done.exists():
        return
    run = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False
    )
    if run.returncode:
        pytest.skip(f"{' '.join(command)[:80]}: {run.stderr.strip()[-300:]}")
    done.touch()


def answer(*command: str) -> Any:  # noqa: ANN401  whatever the client prints
    """Run a client in a process of its own; return the JSON that it printed."""
    run = subprocess.run(command, capture_output=True, text=True, timeout=CALL_LIMIT_S, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


async def ask_all(client: Any, library: Any) -> dict[str, object]:  # noqa: ANN401  no types
    """Ask an asyncio client of tritonclient all that a program asks."""
    async with client:
        config = await client.get_model_config("tiny", **KEYS[library])
        statistics = await client.get_inference_statistics("tiny", **KEYS[library])
        return {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model": await client.is_model_ready("tiny"),
            "unloaded": await client.is_model_ready("spare"),
            "config": config.get("config", config)["name"],
            "statistics": statistics["model_stats"][0]["name"],
            "y": (await client.infer("tiny", tensors(library, ("x", X)))).as_numpy("y").tolist(),
        }


KEYS = {http_aio: {}, grpc_aio: {"as_json": True}}


@pytest.mark.front_desk("configuration, and health over gRPC")
@pytest.mark.parametrize("library", [http_aio, grpc_aio], ids=["http", "grpc"])
def test_the_asyncio_clients_read_all_replies(served: Served, library: Any) -> None:  # noqa: ANN401  no types
    """They announce codings on every call and decompress none but infer replies."""

    async def run() -> dict[str, object]:
        address = served.instance.http if library is http_aio else served.instance.grpc
        return await ask_all(library.InferenceServerClient(address), library)

    assert asyncio.run(run()) == {
        "live": True, "ready": True, "model": True, "unloaded": False,
        "config": "tiny", "statistics": "tiny", "y": Y,
    }  # fmt: skip


@pytest.mark.front_desk("health over gRPC")
@pytest.mark.long
@pytest.mark.parametrize("wire", ["rest", "grpc"])
def test_kserves_clients_read_all_replies(
    served: Served, wire: str, pytestconfig: pytest.Config
) -> None:
    """Health, readiness, JSON and binary calls, and the text of a refusal, on both wires."""
    folder = pytestconfig.cache.mkdir(KSERVE.replace("==", "-"))
    python = str(folder / "bin" / "python")
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install(folder, python, "-m", "pip", "install", "--quiet", KSERVE)
    script = str(HERE / "kserve_calls.py")

    told = answer(python, script, served.instance.http, served.instance.grpc)[wire]

    assert UNKNOWN in told.pop("refused")
    reply = {"model": "tiny", "id": "k1", "y": Y, "datatype": "FP32"}
    assert told == {
        "live": True, "ready": True, "model": True, "unloaded": False,
        "json": reply, "binary": reply,
    }  # fmt: skip


@pytest.mark.front_desk("metadata over gRPC")
def test_a_client_generated_from_the_proto_files_works(
    served: Served, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    """Node's gRPC makes a client of the .proto files, and gets answers and refusals."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node or npm is not installed")
    folder = pytestconfig.cache.mkdir("node-grpc")
    install(folder, npm, "install", "--ignore-scripts", "--prefix", str(folder), *NODE_PACKAGES)
    place = tmp_path / "protos" / "generated"  # as which the files import each other
    place.mkdir(parents=True)
    for file in PROTOS.glob("*.proto"):
        shutil.copy(file, place)
    script = str(HERE / "node_calls.cjs")

    told = answer(node, script, str(folder / "node_modules"), str(tmp_path), served.instance.grpc)

    assert told == {
        "live": True, "ready": True, "model": True, "unloaded": False,
        "platform": "onnxruntime_onnx", "shape": ["-1", "16"], "max_batch_size": 8,
        "id": "n1", "version": "1", "y": Y[0], "refused": {"code": 5, "details": UNKNOWN},
    }  # fmt: skip
