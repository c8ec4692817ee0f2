"""Rules for Prometheus and boards for Grafana, made of the catalogue."""

import json
import re

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from runtimes.errors import InvalidArgumentError
from serving.monitor.alerting.budgets import WINDOWS, budget_alerts
from serving.monitor.alerting.rules_file import alerts, rules_text
from serving.monitor.alerting.slo import DEFAULT, LatencySlo, ModelSlo, Slo, read_slo
from serving.monitor.boards.boards import all_boards
from serving.monitor.boards.layout import Board, board_text
from serving.monitor.stages import EDGES_S
from tests.fakes.promql import OF_PROMETHEUS, selected, spec_by_series

BOARDS = [*all_boards()]
SPECS = spec_by_series()
OWN = read_slo(
    "models: {fraud: {availability: 0.9, latency: {threshold_s: 1, target: 0.5}}, a.b: {}}"
)


def expressions(slo: Slo) -> list[str]:
    """Every expression of the rules."""
    groups = yaml.safe_load(rules_text(slo))["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


@pytest.mark.parametrize(
    "asked",
    [selected(expressions(DEFAULT)), selected(expressions(OWN))]
    + [selected(board.queries) for board in BOARDS],
)
def test_only_metrics_and_labels_of_the_catalogue_are_asked_for(asked: dict[str, set[str]]) -> None:
    """A name that nothing exports would make an alert that never rings."""
    assert asked
    assert asked.keys() <= SPECS.keys()
    for name, labels in asked.items():
        assert labels <= {*SPECS[name].labels, *OF_PROMETHEUS}


def test_series_that_alerts_need_are_computed() -> None:
    """Every `bascule:` series of an alert is recorded, for the window that it is asked for."""
    recorded = set(re.findall(r"record: (\S+)", rules_text(OWN)))
    asked = {name for one in alerts(OWN) for name in re.findall(r"bascule:[\w:]+", one.expression)}
    assert asked <= recorded
    assert {f"bascule:request_errors:ratio_rate{window}" for window in WINDOWS} <= recorded


@pytest.mark.parametrize("promise", [0.5, 0.9, 0.95])
def test_every_limit_of_a_share_can_be_reached(promise: float) -> None:
    """However little is promised: a share above 1 is none, and its alert would never fire."""
    latency = LatencySlo(target=promise)
    slo = Slo(availability=promise, latency=latency, models={"m": ModelSlo(availability=promise)})
    limits = [
        float(limit)
        for alert in budget_alerts(slo)
        for limit in re.findall(r"ratio_rate\w+(?:{[^}]*})? > ([\d.e-]+)", alert.expression)
    ]

    assert len(limits) >= 24
    assert max(limits) < 1


def test_a_model_may_have_promises_of_its_own() -> None:
    """It is left out of what holds for all, and has its own threshold and budget."""
    text = " ".join(rules_text(OWN).split())
    assert 'le=~"1(\\\\.0)?",model="fraud"' in text
    assert 'le="0.25",model!~"fraud"' in text
    assert '{model="fraud"} > 0.9 and' in text
    assert '{model!~"fraud"} > 0.0144 and' in text


def test_every_alert_says_what_to_do() -> None:
    """It has a severity that can be routed, one line that names its subject, and an action."""
    for one in alerts(DEFAULT):
        assert one.severity in {"page", "warning", "none"}
        assert one.summary
        assert one.action.endswith(".")
    assert len({one.name for one in alerts(DEFAULT)}) == len([*alerts(DEFAULT)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latency: {threshold_s: 0.2}", "choose 0.1 or 0.25"),
        ("models: {m: {latency: {threshold_s: 30}}}", "choose 5 or 10"),
        ("availability: 99.9", "`float` < 1.0"),
        ("availabilty: 0.9", "availabilty"),
        ("job: 'a\"b'", "regex"),
        ("a: [", "SLO file"),
    ],
)
def test_promises_that_nobody_can_check_are_refused(text: str, said: str) -> None:
    """A threshold between two edges, a share over 1, a key that is none, a broken file."""
    with pytest.raises(InvalidArgumentError, match=re.escape(said)):
        read_slo(text)


@pytest.mark.parametrize("edge", EDGES_S)
def test_every_edge_of_the_buckets_may_be_promised(edge: float) -> None:
    """As it is written in the histograms."""
    assert read_slo(f"latency: {{threshold_s: {edge}}}").latency.threshold_s == edge


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_boards_are_as_grafana_describes_them(board: Board) -> None:
    """Grafana's own types read a board and write it again; nothing in it is unknown to them."""
    given = json.loads(board_text(board))

    understood = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(given)))

    assert _unknown(given, understood) == []


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_panels_do_not_cover_each_other(board: Board) -> None:
    """Each has its place, inside the board."""
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(board_text(board))["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells
        taken |= cells


def _unknown(given: object, understood: object, at: str = "") -> list[str]:
    """Return the places of what was lost, or changed, on the way through Grafana's types."""
    if isinstance(given, dict) and isinstance(understood, dict):
        return [
            found
            for key, value in given.items()
            if value is not None
            for found in _unknown(value, understood.get(key), f"{at}.{key}")
        ]
    if isinstance(given, list) and isinstance(understood, list) and len(given) == len(understood):
        pairs = enumerate(zip(given, understood, strict=True))
        return [found for place, two in pairs for found in _unknown(*two, f"{at}[{place}]")]
    return [] if given == understood or given in ({}, []) else [f"{at}: {given} → {understood}"]
