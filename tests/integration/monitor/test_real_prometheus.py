"""A real Prometheus scrapes a real server: what rules and boards ask for is there."""

import os
import signal
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
import yaml
from geventhttpclient.response import HTTPConnectionClosed
from tritonclient.utils import InferenceServerException

from serving.monitor.alerting.rules_file import rules_text
from serving.monitor.alerting.slo import DEFAULT
from serving.monitor.boards.boards import all_boards
from serving.monitor.metric_spec import When
from tests.fakes.models import tiny
from tests.fakes.prometheus import Prometheus, is_installed, scraping
from tests.fakes.promql import selected, spec_by_series
from tests.fakes.standalone_server import Server, put_model, serving
from tests.fakes.waiting import until

CONTRACT: Final = """contract: 1
trained_until: 2020-01-01
reference: {collected_until: 2020-01-01}
max_age: {warn: 30d}
inputs: {x: {max: 100, on_violation: count, max_null_rate: 0.5}}
"""
NOT_HERE: Final = {
    When.GPU: "no GPU is taken for granted; a fake NVML tests its samples",
    When.KERNEL: "not every kernel counts it",
    When.FINDING: "preflight notices nothing of these models",
    When.RECEIVER: "nobody is told of events here",
    When.AGE: "no input says when an event happened; the ages of data are asked for by name below",
    When.DRIFT: "no model has a drift monitor; its own tests look at its samples",
    When.LABELS: "no labels were posted; their own tests look at these samples",
}
"""Why a series may be missing from this server."""
BUSY_MACHINE: Final = {"BasculeLatencyBudget", "BasculeEnvironment"}

pytestmark = pytest.mark.skipif(
    not is_installed, reason="prometheus (Debian: prometheus) is not installed"
)


@pytest.fixture(name="server", scope="module")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two models with all that can be counted, which have answered calls on both wires."""
    repository = tmp_path_factory.mktemp("r")
    for model, config in (("plain", "max_batch_size: 8"), ("cached", _CACHED)):
        put_model(repository, model, content=tiny())
        (repository / model / "config.pbtxt").write_text(config)
    (repository / "plain" / "contract.yaml").write_text(CONTRACT)
    home = tmp_path_factory.mktemp("h")
    options = ("--model-repository", str(repository), "--prediction-log", str(home / "log"))
    with serving(home, *options) as server:
        ask(server)
        yield server


_CACHED: Final = "max_batch_size: 8\nresponse_cache { enable: true }"


@pytest.fixture(name="prometheus", scope="module")
def running_prometheus(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """It has scraped the server, and evaluated the rules."""
    folder = tmp_path_factory.mktemp("p")
    (folder / "rules.yaml").write_text(rules_text(DEFAULT))
    target = f"127.0.0.1:{server.ports[2]}"
    with scraping(target, DEFAULT.job, folder / "rules.yaml", folder) as prometheus:
        prometheus.until('ALERTS{alertname="BasculeDeadMansSwitch"}')
        ask(server)
        prometheus.until("bascule:request_slow:ratio_rate5m")
        yield prometheus


def ask(server: Server, count: int = 5) -> None:
    """Call both models on both wires, with a missing value."""
    kinds: tuple[tuple[Any, str], ...] = ((triton_http, server.http), (triton_grpc, server.grpc))
    for kind, address in kinds:
        with kind.InferenceServerClient(address) as client:
            x = kind.InferInput("x", [1, 16], "FP32")
            values = np.ones((1, 16), np.float32)
            values[0, 3] = np.nan  # a missing value
            x.set_data_from_numpy(values)
            for model in ("plain", "cached") * count:
                client.infer(model, [x])


def test_every_series_of_rules_and_boards_is_there(prometheus: Prometheus) -> None:
    """Or it is of something that this server does not have, for a reason that is written down."""
    groups = yaml.safe_load(rules_text(DEFAULT))["groups"]
    asked = [rule["expr"] for group in groups for rule in group["rules"]]
    asked.extend(query for board in all_boards() for query in board.queries)
    names = selected(asked).keys()

    missing = {name for name in names if not prometheus.query(f'{name}{{job="bascule"}}')}

    assert {name for name in missing if spec_by_series()[name].when not in NOT_HERE} == set()
    assert not missing & {"bascule_reference_age_seconds", "bascule_model_training_age_seconds"}
    assert len(names - missing) > 30


def test_every_rule_can_be_evaluated(prometheus: Prometheus) -> None:
    """None ends in an error, on series as they really are."""
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")} == {}
    assert {rule["health"] for rule in rules} == {"ok"}


@pytest.mark.parametrize("board", [*all_boards()], ids=lambda board: board.name)
def test_every_query_of_a_board_is_valid(prometheus: Prometheus, board: Any) -> None:  # noqa: ANN401
    """With Grafana's variables in their places; what this server has gives values."""
    for query in board.queries:
        text = query.replace("$job", ".*").replace("$model", ".*")
        found = prometheus.query(text.replace("$__rate_interval", "5m"))
        assert found is not None, query
        specs = [spec_by_series()[name] for name in selected([query])]
        has_all = all(spec.when not in NOT_HERE for spec in specs)
        if has_all and 'transport="copy"' not in query:  # no version has shadow traffic here
            assert found, query


def test_a_healthy_server_rings_nothing_but_the_switch(prometheus: Prometheus) -> None:
    """Its data is as old as its contract says, and that is told.

    A machine that is busy with other things is told of, too: no fault of the server.
    """
    alerts = prometheus.query('ALERTS{alertstate="firing"}')
    ringing = {one["metric"]["alertname"] for one in alerts}
    assert ringing - BUSY_MACHINE == {
        "BasculeDeadMansSwitch",
        "BasculeReferenceOutdated",
        "BasculeTrainingOutdated",
    }


def test_counted_calls_are_the_calls(prometheus: Prometheus, server: Server) -> None:
    """By transport: those of the histogram, and of its last bucket."""
    ask(server, 3)
    for transport in ("http", "grpc"):
        of_calls = f'model="plain",transport="{transport}"'
        count = f"bascule_request_duration_seconds_count{{{of_calls}}}"
        last = f'bascule_request_duration_seconds_bucket{{{of_calls},le="+Inf"}}'
        prometheus.until(f"{count} == 13 and on () {last} == 13")
    prometheus.until('sum(nv_inference_request_success{model="plain"}) == 26')


def test_a_killed_worker_does_not_make_counters_fall(
    prometheus: Prometheus, server: Server
) -> None:
    """Prometheus sees the calls that were made, and no reset."""
    answered = 'sum(nv_inference_request_success{model="cached"})'
    before = float(prometheus.query(answered)[0]["value"][1])
    os.kill(server.worker_of("cached"), signal.SIGKILL)
    closed = (InferenceServerException, HTTPConnectionClosed, ConnectionError)
    until(lambda: server.answer("cached"), "the worker comes back", excused=closed)
    ask(server, 1)
    prometheus.until(f"{answered} >= {before + 2:g}")
    resets = 'resets(nv_inference_request_success{model="cached"}[5m])'
    assert [one["value"][1] for one in prometheus.query(resets)] == ["0"]
