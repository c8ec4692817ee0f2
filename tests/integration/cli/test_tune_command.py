"""`bascule tune` with instances that really serve, through to a new version of the registry."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.instance import until
from benchmarks.models.layout import write_model
from benchmarks.models.small import small_models
from serving.cli.main import main
from serving.cli.tune.keeping import evidence, push_tuned, where_now
from serving.cli.tune.run import Order, Tuner
from serving.cli.tune.space import Space
from serving.cli.tune.subject import Subject, subject_of
from serving.registry.bundles.bundle import read_bundle
from serving.registry.model_config.parsing import parse_config
from serving.registry.model_config.scheduling import NATURAL, Scheduling, scheduling_of
from serving.registry.store import Registry
from serving.settings import inherited_environment, load_settings
from tests.fakes.models import tiny
from tests.fakes.standalone_server import LIMIT_S

SLO_S = 0.25
WAITS = "max_batch_size: 64\ndynamic_batching { max_queue_delay_microseconds: 750000 }\n"
"""Calls wait for company that does not come, and longer than they may take."""


def run(*arguments: str) -> int:
    """Run a command line and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.fixture(name="home")
def home_with_a_slow_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with m:1, which waits too long."""
    home = tmp_path / "h"
    monkeypatch.setenv("BASCULE_HOME", str(home))
    (tmp_path / "m.onnx").write_bytes(tiny())
    (tmp_path / "config.pbtxt").write_text(WAITS)
    pushed = run("push", str(tmp_path / "m.onnx"), "--config", str(tmp_path / "config.pbtxt"))
    assert pushed == 0
    return home


def order_of(subject: Subject, home: Path) -> Order:
    """Try the present policy, and one that does not wait."""
    present = scheduling_of(subject.policy, 1)
    space = Space(
        present=present, cpus=1, instances=(1,), threads=(1,), joinings=(present.joining, NATURAL)
    )
    return Order(
        subject=subject,
        space=space,
        slo_s=SLO_S,
        budget_s=10_000,
        stage_s=0.1,
        given=(),
        rows=None,
        profiles=home / "profiles",
    )


@pytest.mark.long
def test_a_better_policy_becomes_a_version_with_its_evidence(home: Path) -> None:
    """Measured, chosen, written with the proof, and made from the version that it replaces."""
    subject = subject_of("m", gpu=False)
    found = asyncio.run(Tuner(order_of(subject, home), lambda _: None).run())

    natural = Scheduling(instances=1, threads=1)
    assert found.chosen() == natural
    assert subject.bundle is not None
    config, files = subject.config_with(natural), evidence(found, where_now("onnx"))
    pushed = push_tuned(subject.bundle, config, files, load_settings(), None)

    assert (pushed.model, pushed.version, pushed.created) == ("m", 2, True)
    bundle = read_bundle(pushed.folder)
    before = subject.bundle.manifest
    assert bundle.manifest.lineage.parent == "m:1"
    assert bundle.manifest.golden == before.golden
    assert scheduling_of(parse_config(bundle.manifest.config, model="m").policy, 1) == natural
    told: dict[str, Any] = json.loads((bundle.folder / "evidence" / "tuning.json").read_text())
    assert told["chosen"]["instances"] == 1
    assert len(told["tuning"]["trials"]) == len(found.trials)
    assert "better: measured in turns" in (bundle.folder / "evidence" / "tuning.md").read_text()
    with Registry(home) as registry:
        assert [row.version for row in registry.versions("m")] == [1, 2]


def test_nothing_is_written_without_something_better(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A budget that is spent at once leaves the present policy, whose best is told; status 1."""
    limits = ("--slo-p99-ms", "1", "--stage-s", "0.1", "--budget-s", "1")  # nothing is so fast
    monkeypatch.setattr(Tuner, "_passed_s", lambda _: 10.0)  # on a fast machine, too

    status = run("tune", "m", *limits, "--write")

    said = capsys.readouterr()
    assert status == 1
    assert "not tried" in said.out
    assert "no scheduling keeps a p99 of 1 ms" in said.err
    with Registry(home) as registry:
        assert [row.version for row in registry.versions("m")] == [1]


@pytest.mark.usefixtures("home")
def test_what_was_found_is_told_though_the_disk_is_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is printed before the report is written."""
    report = tmp_path / "report"
    report.mkdir()
    (report / "tuning.json").symlink_to("/dev/full")
    limits = ("--slo-p99-ms", "1", "--stage-s", "0.1", "--budget-s", "1")
    monkeypatch.setattr(Tuner, "_passed_s", lambda _: 10.0)  # on a fast machine, too

    assert run("tune", "m", *limits, "--report", str(report)) == 1

    said = capsys.readouterr()
    assert "no scheduling keeps a p99 of 1 ms" in said.out
    assert "tuning.json cannot be written: No space left on device" in said.err


@pytest.mark.usefixtures("home")
def test_a_report_that_has_no_place_is_told_before_anything_is_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not when minutes have passed."""
    (tmp_path / "r").write_text("a file")

    assert run("tune", "m", "--slo-p99-ms", "20", "--report", str(tmp_path / "r")) == 1

    said = capsys.readouterr()
    assert said.out == ""
    assert "r cannot be made: File exists" in said.err


def test_a_dry_run_names_what_would_be_tried(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The present policy first; nothing is started."""
    assert run("tune", "m", "--slo-p99-ms", "20", "--cpus", "4", "--list", "--json") == 0

    told = json.loads(capsys.readouterr().out)
    assert told["first"][0]["joining"]["max_queue_delay_us"] == 750_000
    assert {"instances": 4, "threads": 1} in [
        {key: one[key] for key in ("instances", "threads")} for one in told["all"]
    ]
    assert not (home / "run").exists()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nothing", "no model 'nothing' is in the registry"),
        ("m:7", "m:7 is not in the registry: 'm' has 1"),
        ("m.onnx", "makes a version of it, which can be tuned"),
        ("models/accumulator", "takes calls in sequences"),
        ("empty", "is no bundle"),
        ("models/nothing", "there is no folder models/nothing"),
    ],
)
@pytest.mark.usefixtures("home")
def test_what_cannot_be_tuned_is_told(
    target: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In one sentence with what to do."""
    (tmp_path / "empty").mkdir()
    for model in small_models():
        if model.name == "accumulator":
            write_model(tmp_path / "models", model)
    monkeypatch.chdir(tmp_path)

    assert run("tune", target, "--slo-p99-ms", "20") == 1

    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("home")
def test_sigterm_leaves_no_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A trial's instance and its home go with the command, as after Ctrl-C."""
    scratch = tmp_path_factory.mktemp("t")
    command = [str(Path(sys.executable).with_name("bascule")), "tune", "m", "--slo-p99-ms", "20"]
    variables = inherited_environment() | {"TMPDIR": str(scratch)}
    with subprocess.Popen(command, env=variables) as process:
        until(lambda: any(scratch.glob("bascule-tune-*/home")), LIMIT_S, "a trial has begun")
        process.terminate()
        assert process.wait(LIMIT_S) == 128 + signal.SIGTERM

    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("flag", ["--slo-p99-ms", "--stage-s"])
@pytest.mark.usefixtures("home")
def test_what_never_ends_is_a_mistake_of_usage(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An infinite time is refused like one of no length."""
    assert run("tune", "m", "--slo-p99-ms", "20", "--list", flag, "inf") == 2

    assert flag in capsys.readouterr().err
