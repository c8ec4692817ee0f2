"""What is told of calls on Ray: traces, labels, data quality, and what changes under workers."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from serving.monitor.environment.records import IssueKind
from serving.monitor.environment.telling import entry_of
from serving.registry.bundles.packing import PackOrder, pack_bundle
from serving.registry.environment_history import environment_events
from serving.registry.rollouts.record import RolloutState
from serving.registry.store import Registry
from serving.settings import inherited_environment
from tests.e2e.ray_instance import BODY, CALL_LIMIT_S, Instance, instance, until
from tests.fakes import models
from tests.fakes.logged_worker import PARAMETER
from tests.fakes.otlp_receiver import Receiver, receiving
from tests.fakes.site_packages import install

pytestmark = pytest.mark.e2e

PARENT_SPAN = "00f067aa0ba902b7"
STAGES = {"queue", "batch", "compute", "encode"}
CALLS = 12
STRICT = "contract: 1\ninputs: {x: {max: 9, on_violation: reject}}\n"
TOO_LARGE = 10.0
REFUSED = (
    "input 'x' row 0 is above the maximum 9: "
    "rule 'x.max' of the data contract of strict:2; correct it"
)
INPUT = triton_grpc.InferInput("x", [1, 16], "FP32")


@dataclass(frozen=True)
class Watched:
    """A running instance, what its spans came to, and a folder that its Python looks into."""

    running: Instance
    spans: Receiver
    site: Path


@pytest.fixture(scope="module", name="watched")
def watched_instance() -> Iterator[Watched]:
    """An instance that traces and logs, with `strict`: version 1 is live, 2 has a contract."""
    with ExitStack() as stack:
        spans, made = stack.enter_context(receiving()), stack.enter_context(instance())
        site = Path(tempfile.mkdtemp(prefix="bascule-site-"))
        stack.callback(shutil.rmtree, site)
        install(site, "0.5.0")
        inherited = inherited_environment().get("PYTHONPATH", "")
        made.environment |= {
            "PYTHONPATH": f"{site}{os.pathsep}{inherited}",
            "BASCULE_OTLP_ENDPOINT": spans.url,
            "BASCULE_OTLP_SHARE": "0",
            "BASCULE_ENVIRONMENT_LOOK_S": "0.5",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        shutil.rmtree(made.home / "models" / "pair" / "1")
        push(made.home)
        started = made.up("--no-dashboard", "--prediction-log", str(made.home / "log"))
        assert started.returncode == 0, started.stderr
        yield Watched(made, spans, site)


def push(home: Path) -> None:
    """Push both versions of `strict`."""
    contract = home / "contract.yaml"
    contract.write_text(STRICT)
    source = home / "model.onnx"
    source.write_bytes(models.tiny())
    with Registry(home) as registry:
        for version, rules in ((1, None), (2, contract)):
            order = PackOrder(
                model_file=source,
                name="strict",
                version=version,
                created_utc=datetime.now(UTC),
                contract_file=rules,
            )
            pack_bundle(order, home / f"bundle{version}")
            registry.push(home / f"bundle{version}", "ann")


def said(watched: Watched, *words: str) -> dict[str, Any]:
    """What a command prints as JSON."""
    ended = watched.running.run(*words, "--json")
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_a_call_goes_on_with_its_clients_trace(watched: Watched) -> None:
    """Over HTTP and gRPC; workers send their spans themselves, and sign with the instance."""
    http, grpc = f"{1:032x}", f"{2:032x}"
    INPUT.set_data_from_numpy(np.ones((1, 16), np.float32))

    watched.running.post("/v2/models/plain/infer", BODY, **context(http))
    with triton_grpc.InferenceServerClient(f"127.0.0.1:{watched.running.grpc}") as client:
        client.infer("pair", [INPUT], headers=context(grpc))

    for trace, model in ((http, "plain"), (grpc, "pair")):
        spans = watched.spans.trace(trace)
        call = spans.pop(f"infer {model}")
        assert (call.parent_id, call.trace_state) == (PARENT_SPAN, "vendor=7")
        assert (call.attributes["bascule.model"], call.attributes["bascule.version"]) == (model, 2)
        assert spans.keys() == STAGES
        assert {span.parent_id for span in spans.values()} == {call.span_id}
        assert call.resource["service.name"] == "bascule"


def context(trace: str) -> dict[str, str]:
    """A client's trace context."""
    return {"traceparent": f"00-{trace}-{PARENT_SPAN}-01", "tracestate": "vendor=7"}


def test_labels_of_answers_are_joined(watched: Watched) -> None:
    """Posted to the edge, kept by a worker of either replica, counted by commands, by version."""
    replies = [watched.running.post("/v2/models/pair/infer", BODY) for _ in range(CALLS)]
    best = [int(np.argmax(reply["outputs"][0]["data"])) for reply in replies]
    labels = [
        {"prediction_id": reply["parameters"][PARAMETER], "label": (right + wrong) % 4}
        for number, (reply, right) in enumerate(zip(replies, best, strict=True))
        for wrong in (int(number % 4 == 0),)
    ]
    kept = watched.running.post("/v2/models/pair/labels", json.dumps(labels))
    place = ("--log", str(watched.running.home / "log"))

    assert kept == {"labels": CALLS}
    until(lambda: said(watched, "labels", "status", "pair", *place)["joined_rows"] == CALLS, "all")
    (found,) = said(watched, "labels", "performance", "pair", *place)["versions"]
    assert found["version"] == 2
    assert found["figures"]["accuracy"]["value"] == pytest.approx(0.75)


def test_a_library_that_is_replaced_under_workers_is_told(watched: Watched) -> None:
    """Each replica looks at its node; the controller tells once, and when it is over."""
    until((watched.running.home / "seen.json").is_file, "what runs was seen")

    install(watched.site, "0.6.0")
    until(lambda: is_told(watched, "begun"), "it has begun")
    install(watched.site, "0.5.0")
    until(lambda: is_told(watched, "begun", "ended"), "it is over")


def is_told(watched: Watched, *states: str) -> bool:
    """Whether just this became of the library under workers.

    This machine's load may be told of, too.
    """
    with Registry(watched.running.home) as registry:
        entries = [entry_of(event) for event in environment_events(registry)]
    found = [one for one in entries if one is not None and one.kind is IssueKind.UNDER_WORKER]
    assert [one.state for one in found] == [*states]
    changes = {(one.field, one.before, one.after) for entry in found for one in entry.changes}
    return changes == {("ml_dtypes", "0.5.0", "0.6.0")}


def test_a_candidate_whose_contract_refuses_calls_is_taken_back(watched: Watched) -> None:
    """By what its worker counted, which comes to the controller through its replica."""
    running = watched.running
    INPUT.set_data_from_numpy(np.full((1, 16), TOO_LARGE, np.float32))
    words = ("--to", "2", "--strategy", "canary", "--steps", "50%:10m")
    begun = running.run("rollout", "start", "strict", *words, "--guard", "latency_ratio=0")
    assert begun.returncode == 0, begun.stderr
    found: set[str] = set()

    def newest() -> dict[str, str]:
        return dict(running.admin("GET", "/v1/rollouts")[0])  # type: ignore[index]  # a list

    with triton_grpc.InferenceServerClient(f"127.0.0.1:{running.grpc}") as client:

        def has_ended() -> bool:
            found.update(refusal(client) for _ in range(20))
            return newest()["state"] == RolloutState.ROLLED_BACK

        until(has_ended, "it is rolled back")
        until(lambda: not any(refusal(client) for _ in range(20)), "version 1 answers all")
    assert found == {"", REFUSED}
    assert newest()["note"].startswith("input_quality: by the candidate's data contract ")


def refusal(client: triton_grpc.InferenceServerClient) -> str:
    """Ask `strict` what version 2 refuses; what it said."""
    try:
        client.infer("strict", [INPUT], client_timeout=CALL_LIMIT_S)
    except InferenceServerException as error:
        return str(error.message())
    return ""


def test_down_leaves_nothing_and_can_be_repeated(watched: Watched) -> None:
    """The last test here: `down` ends every process; a second one says that there is nothing."""
    watched.running.assert_ended()
    again = watched.running.run("down")
    assert again.returncode == 0
    assert "no instance" in again.stdout
