"""Which calls are traced, and what a trace says."""

import json
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serving.ids import VersionKey
from serving.monitor.diagnostics import Diagnostics, TracePlan
from serving.wire.call import InferCall
from serving.worker import tracing as tracing_module
from serving.worker.tracing import Moments, TraceSlot, Tracing

KEY, OTHER = VersionKey("m", 2), VersionKey("m", 3)
MOMENTS = Moments(begin_ns=20, infer_ns=30, split_ns=40, end_ns=50)


@dataclass
class Answered:
    """A call that was answered."""

    call: InferCall
    enqueued_ns: int = 10


def calls(*ids: str) -> list[Answered]:
    """Make a batch."""
    return [
        Answered(InferCall(id=name, rows=1, shapes=(), stack_key=(), tensors=(), outputs=()))
        for name in ids
    ]


def take(slot: TraceSlot, *ids: str) -> None:
    """Let a batch pass."""
    if slot.tracer is not None:
        slot.tracer.take(slot.key, calls(*ids), MOMENTS)


def traces(file: Path) -> list[dict[str, Any]]:
    """Read the file."""
    return [json.loads(line) for line in file.read_text().splitlines()]


def tracing(file: Path, plan: TracePlan | None, **models: TracePlan | None) -> Diagnostics:
    """Make settings."""
    return Diagnostics(trace_file=str(file), trace=plan, models=models)


def test_a_trace_has_the_names_of_triton(tmp_path: Path) -> None:
    """One line a call: who it was, and when each part of its way began and ended."""
    settings = Tracing()
    slot = settings.slot(KEY)
    settings.change(tracing(tmp_path / "t", TracePlan(rate=1)))

    take(slot, "a", "b")

    first, second = traces(tmp_path / "t")
    assert (first["model_name"], first["model_version"], first["request_id"]) == ("m", 2, "a")
    assert [(one["name"], one["ns"]) for one in first["timestamps"]] == [
        ("REQUEST_START", 10),
        ("QUEUE_START", 10),
        ("COMPUTE_START", 20),
        ("COMPUTE_INPUT_END", 30),
        ("COMPUTE_OUTPUT_START", 40),
        ("COMPUTE_END", 50),
        ("REQUEST_END", 50),
    ]
    assert first["id"] != second["id"]


@pytest.mark.parametrize(
    ("plan", "seen"),
    [
        (TracePlan(rate=2), ["2", "4", "6"]),
        (TracePlan(rate=1, count=0), []),
    ],
)
def test_one_of_so_many_is_traced_until_enough_are(
    tmp_path: Path, plan: TracePlan, seen: list[str]
) -> None:
    """Rate and count are those of the model, whatever version answers."""
    settings = Tracing()
    settings.change(tracing(tmp_path / "t", plan))

    take(settings.slot(KEY), "1", "2", "3")
    take(settings.slot(OTHER), "4", "5", "6")

    assert [one["request_id"] for one in traces(tmp_path / "t")] == seen


def test_workers_count_their_traces_together(tmp_path: Path) -> None:
    """So many traces in all, whichever process answers, and one that starts later goes on."""
    plan = TracePlan(rate=1, count=4, tally=str(tmp_path / "taken"))
    workers = Tracing(), Tracing(), Tracing()
    first, second, late = (worker.slot(KEY) for worker in workers)
    workers[0].change(tracing(tmp_path / "t", plan))
    workers[1].change(tracing(tmp_path / "t", plan))

    take(first, "1", "2")
    take(second, "3")
    workers[2].change(tracing(tmp_path / "t", plan))
    take(late, "4", "5")
    take(first, "6")

    assert [one["request_id"] for one in traces(tmp_path / "t")] == ["1", "2", "3", "4"]


def test_models_that_follow_one_setting_count_together(tmp_path: Path) -> None:
    """The global count is that of all models without a setting of their own."""
    settings = Tracing()
    settings.change(tracing(tmp_path / "t", TracePlan(rate=1, count=2, tally=str(tmp_path / "n"))))

    take(settings.slot(KEY), "1")
    take(settings.slot(VersionKey("n", 1)), "2", "3")

    assert [one["request_id"] for one in traces(tmp_path / "t")] == ["1", "2"]


def test_a_changed_setting_counts_anew(tmp_path: Path) -> None:
    """Another tally is another count."""
    settings = Tracing()
    slot = settings.slot(KEY)
    for turn in ("1", "2"):
        plan = TracePlan(rate=1, count=1, tally=str(tmp_path / f"taken-{turn}"))
        settings.change(tracing(tmp_path / "t", plan))
        take(slot, turn, "more")

    assert [one["request_id"] for one in traces(tmp_path / "t")] == ["1", "2"]


def test_a_tally_that_cannot_be_kept_traces_nothing(tmp_path: Path) -> None:
    """Rather no trace than more than were asked for."""
    settings = Tracing()
    plan = TracePlan(rate=1, count=1, tally=str(tmp_path / "missing" / "n"))
    settings.change(tracing(tmp_path / "t", plan))

    assert settings.slot(KEY).tracer is None


def test_settings_that_are_said_again_change_nothing(tmp_path: Path) -> None:
    """Workers are told again and again: what was counted stays counted."""
    settings = Tracing()
    slot = settings.slot(KEY)
    for name in ("1", "2", "3"):
        settings.change(tracing(tmp_path / "t", TracePlan(rate=2)))
        take(slot, name)

    assert [one["request_id"] for one in traces(tmp_path / "t")] == ["2"]


def test_a_model_is_turned_on_and_off_by_itself(tmp_path: Path) -> None:
    """Its own plan counts before the general one; off, its slot is empty again."""
    settings = Tracing()
    slot, other = settings.slot(KEY), settings.slot(VersionKey("n", 1))
    settings.change(tracing(tmp_path / "t", None, m=TracePlan(rate=1)))
    on = (slot.tracer is not None, other.tracer is not None)
    settings.change(tracing(tmp_path / "t", TracePlan(rate=1), m=None))
    off = (slot.tracer is not None, other.tracer is not None)
    settings.change(Diagnostics())

    assert (on, off) == ((True, False), (False, True))
    assert (slot.tracer, other.tracer) == (None, None)


def test_a_file_that_cannot_be_opened_traces_nothing(tmp_path: Path) -> None:
    """Calls are answered all the same."""
    settings = Tracing()
    settings.change(tracing(tmp_path / "missing" / "t", TracePlan(rate=1)))

    assert settings.slot(KEY).tracer is None


def test_a_full_disk_cuts_one_trace_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has room again is on lines of its own."""
    told: list[str] = []
    monkeypatch.setattr(tracing_module.log, "warning", lambda event, **_: told.append(event))
    settings, file = Tracing(), tmp_path / "t"
    slot = settings.slot(KEY)
    settings.change(tracing(file, TracePlan(rate=1)))
    take(slot, "whole")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 40, limits[1]))
    try:
        take(slot, "cut", "lost", "lost")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    take(slot, "next", "last")

    whole, cut, *others = file.read_text().splitlines()
    assert json.loads(whole)["request_id"] == "whole"
    assert len(cut) == 40
    assert [json.loads(line)["request_id"] for line in others] == ["next", "last"]
    assert told == ["trace_not_written"]
