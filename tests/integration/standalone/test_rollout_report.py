"""The report of rollouts that took place: its numbers are those that the engine decided by."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from serving.registry.rollouts.book import RolloutBook
from serving.registry.rollouts.record import ENDED, RolloutState
from serving.registry.store import Registry
from serving.rollout.engine.kept import Kept, decoded_kept
from tests.fakes import models
from tests.fakes.shadow_home import MARK, ask_rows, push_versions
from tests.fakes.standalone_server import LIMIT_S, Server, serving

WRONG = {"version": 2, "strategy": "shadow", "shadow_call_count": 40, "reason": "try <b>2</b>"}
FORCED = {
    "version": 2,
    "strategy": "canary",
    "steps": [{"share_percent": 50, "call_count": 40}],
    "bake_s": 0.5,
    "guardrails": {"mismatch_share": -1, "min_call_count": 30},
    "reason": "the difference is meant",
}


@pytest.fixture(scope="module", name="home")
def rolled_out_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose instance has ended: rollout 1 was taken back, rollout 2 went live."""
    home = tmp_path_factory.mktemp("h")
    push_versions(home, models.tiny_off(MARK, 0.5))
    with serving(home) as server:
        roll_out(server, WRONG)
        roll_out(server, FORCED, looks=True)
    return home


def roll_out(server: Server, body: dict[str, object], *, looks: bool = False) -> None:
    """Carry a rollout out under load, and look at its report while it is under way."""
    server.admin("POST", "/v1/models/m/rollout", body)
    pages: list[dict[str, Any]] = []

    def has_ended() -> bool:
        ask_rows(server.ports[0])
        newest = server.admin("GET", "/v1/rollouts")[0]  # type: ignore[index]  # a list
        if looks and not pages and newest["state"] == "CANARY":
            pages.append(server.admin("GET", f"/v1/rollouts/{newest['id']}/report?format=json"))
        return newest["state"] in ENDED

    server.until(has_ended, "the rollout has ended")
    if looks:
        titles = [one["title"] for one in pages[0]["sections"]]
        assert "Guardrails" in titles
        assert "It is under way: CANARY 1 of 1 (50 %)" in pages[0]["lead"]


def report(home: Path, *words: str) -> str:
    """Run `bascule rollout report` where no instance runs."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("bascule")), "rollout", "report", *words],
        env=os.environ | {"BASCULE_HOME": str(home)},  # noqa: TID251  a test's own process
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tables(page: dict[str, Any], title: str) -> list[list[list[str]]]:
    """The rows of every table of a section."""
    section = next(one for one in page["sections"] if one["title"] == title)
    return [block["rows"] for block in section["blocks"] if block["kind"] == "table"]


def kept_after(home: Path, number: int, state: RolloutState) -> Kept:
    """What was kept with the change that ended a state."""
    with Registry(home) as registry:
        _, stops = RolloutBook(registry).found(number)
    pairs = pairwise(stops)
    return next(decoded_kept(after.evidence) for one, after in pairs if one.state is state)


def test_a_wrong_candidate_is_shown_with_its_rows(home: Path) -> None:
    """Each output with its share of rows and its largest error, and the row that shows it."""
    page = json.loads(report(home, "1", "--json"))
    assert page["lead"].startswith("It was taken back: version 1 then answered")
    outputs, worst = tables(page, "Comparison of answers to equal calls")
    comparison = kept_after(home, 1, RolloutState.SHADOW).comparison
    assert comparison is not None
    off = comparison.outputs["y"].mismatched_rows
    assert outputs == [["y", f"{off:,}", "2 %", "0.5", outputs[0][4]]]
    assert worst[0][:2] == ["y", "41"]
    assert "1024" in worst[0][5]


def test_guardrails_are_shown_with_the_numbers_that_were_judged(home: Path) -> None:
    """Calls and failures of both versions, evidence, limit and verdict."""
    page = json.loads(report(home, "2", "--json"))
    assert page["lead"].startswith("It ended well")
    decided = tables(page, "Guardrails")
    rows = {row[0]: row for row in decided[0]}
    figures = kept_after(home, 2, RolloutState.CANARY).figures
    assert figures is not None
    count = figures.candidate.call_count
    assert count > 0
    assert rows["error_rate"][1] == f"0 of {count:,} calls failed (0 %)"
    assert rows["mismatch"][5] == "off: not compared"
    assert rows["error_rate"][5] == "held"
    plots = [
        block
        for one in page["sections"]
        for block in one["blocks"]
        if block["kind"] == "plot" and block["title"] == "Latency"
    ]
    assert all(line["points"] for line in plots[0]["series"][:1])


def test_what_was_foreseen_and_loaded_is_shown(home: Path) -> None:
    """Also that nothing was replayed: this bundle has no golden samples."""
    text = report(home, "2")
    assert "Not measured: the bundle has no golden samples." in text
    assert "| input x | FP32" in text
    assert "free at the start" in text
    assert "unbroken; head" in text


def test_a_page_of_html_stands_alone(home: Path, tmp_path: Path) -> None:
    """Reasons are text in it, and it asks for nothing."""
    file = tmp_path / "page.html"
    report(home, "1", "-o", str(file))
    text = file.read_text()
    assert "try &lt;b&gt;2&lt;/b&gt;" in text
    assert "<b>" not in text
    assert "<svg" in text
    assert not any(word in text for word in ("src=", "href=", "@import", "url("))


def test_an_unknown_rollout_is_one_sentence(home: Path) -> None:
    """And exit status 1."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("bascule")), "rollout", "report", "99"],
        env=os.environ | {"BASCULE_HOME": str(home)},  # noqa: TID251  a test's own process
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "there is no rollout 99" in done.stderr
