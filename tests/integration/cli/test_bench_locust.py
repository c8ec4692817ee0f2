"""`bascule bench locust` against a server that really serves."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from serving.cli.main import main
from serving.settings import inherited_environment
from tests.fakes.standalone_server import LIMIT_S, Server, put_model, serving

BEGIN = "window.templateArgs = "


@pytest.fixture(name="server", scope="module")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one small model."""
    models = tmp_path_factory.mktemp("m")
    put_model(models, "tiny")
    with serving(tmp_path_factory.mktemp("b"), "--model-repository", str(models)) as running:
        yield running


def flags(server: Server, *more: str) -> list[str]:
    """The command line, for a server that is somebody else's."""
    where = ["--host", f"http://{server.http}", "--grpc", server.grpc]
    return ["bench", "locust", "--model", "tiny", *where, *more]


def run(server: Server, *more: str) -> int:
    """Run the command and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(flags(server, *more))
    return int(ended.value.code or 0)


def page(report: Path) -> dict[str, Any]:
    """What the HTML report shows: its page draws tables and plots of this."""
    text = report.read_text()
    found: dict[str, Any] = json.JSONDecoder().raw_decode(text, text.index(BEGIN) + len(BEGIN))[0]
    return found


@pytest.mark.parametrize("client", ["tritonclient", "raw"])
def test_both_transports_are_asked_and_reported(
    client: str, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One command asks over HTTP and gRPC; table, HTML report and JSON say the same of both."""
    report, figures = tmp_path / "r.html", tmp_path / "r.json"
    shape = ("--shape", "step", "--users", "4", "--rows", "3")
    files = ("--report", str(report), "--json", str(figures))
    for seconds in (3, 20):  # a slow machine needs longer until all users have come
        status = run(server, "--client", client, *shape, "--duration", f"{seconds}s", *files)
        printed = capsys.readouterr().out
        shown, written = page(report), json.loads(figures.read_text())
        if {point["user_count"][1] for point in shown["history"]} & {2, 3, 4}:
            break

    rows = {row["transport"]: row for row in written["results"]["rows"]}
    lines = {line["method"]: line for line in shown["requests_statistics"] if line["method"]}
    assert (status, written["broken"], shown["failures_statistics"]) == (0, [], [])
    assert set(rows) == set(lines) == {"HTTP", "gRPC"}
    for transport, row in rows.items():
        assert row["request_count"] == lines[transport]["num_requests"] > 0
        assert row["failure_count"] == lines[transport]["num_failures"] == 0
        assert lines[transport]["name"] == f"tiny ({client})"
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert f"{row['request_count']:,}" in printed
    assert (
        f"tiny, 3 rows; 4 users ({client}) over HTTP and gRPC; step, {seconds} s"
        in shown["profile"]
    )
    assert {point["user_count"][1] for point in shown["history"]} & {2, 3, 4}


def test_a_threshold_that_cannot_hold_is_exit_status_1(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """No answer takes a microsecond: the threshold is named with both numbers."""
    quick = ("--users", "1", "--duration", "1s", "--max-p99-ms", "0.001")

    status = run(server, "--transport", "grpc", *quick)

    assert status == 1
    assert "above --max-p99-ms 0.001" in capsys.readouterr().out


@pytest.mark.timeout(120)
def test_it_ends_although_a_client_would_not(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something that hangs when the interpreter takes itself apart keeps nobody waiting."""
    (tmp_path / "sitecustomize.py").write_text(
        "import builtins, time\n"
        "class Hanging:\n"
        "    def __del__(self, sleep=time.sleep):\n"
        "        sleep(3600)\n"
        "builtins.hanging = Hanging()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert run(server, "--transport", "http", "--users", "1", "--duration", "1s") == 0


def test_refused_calls_are_told_in_the_servers_words(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Inputs of a wrong shape fail over both transports; the reason is shown, the status is 1."""
    (tmp_path / "x.json").write_text(json.dumps({"x": [[1.0, 2.0]]}))
    given = ("--json-input", str(tmp_path / "x.json"), "--client", "raw")

    status = run(server, *given, "--users", "2", "--rate", "20", "--duration", "1s")

    out = capsys.readouterr().out
    assert status == 1
    assert "HTTP: 400: [request id" in out
    assert "gRPC: INVALID_ARGUMENT: [request id" in out
    assert "HTTP: a share of 1 failed" in out


def test_an_unknown_model_is_one_sentence(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the server does not have is said before anything is started."""
    with pytest.raises(SystemExit) as ended:
        main(["bench", "locust", "--model", "nope", "--host", server.http, "--transport", "http"])

    assert ended.value.code == 1
    assert "'nope' is not found" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["--json", "--report"])
def test_what_was_counted_is_told_though_the_disk_is_full(
    file: str, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table is printed before a file is written."""
    status = run(server, "--transport", "http", "--duration", "1s", file, "/dev/full")

    said = capsys.readouterr()
    assert status == 1
    assert "requests/s" in said.out
    assert "/dev/full cannot be written: No space left on device" in said.err


def test_ctrl_c_ends_it_with_its_figures(server: Server, tmp_path: Path) -> None:
    """What was counted until then is printed, and the report is written."""
    report = tmp_path / "r.html"
    command = str(Path(sys.executable).with_name("bascule"))
    arguments = flags(server, "--users", "2", "--duration", "1h", "--report", str(report))
    with subprocess.Popen(
        [command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Who runs the tests in the background may ignore the signal, and children inherit that.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  no threads
    ) as process:
        assert process.stderr is not None
        next(
            line for line in process.stderr if " requests, " in line and " 0 requests, " not in line
        )
        os.kill(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=LIMIT_S)

    assert process.returncode == 0
    assert "HTTP" in out
    assert page(report)["requests_statistics"][0]["num_requests"] > 0


def test_sigterm_leaves_neither_locust_nor_a_folder(
    server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Who ends the command ends Locust, too; what was counted is given up."""
    scratch = tmp_path_factory.mktemp("t")
    command = str(Path(sys.executable).with_name("bascule"))
    with subprocess.Popen(
        [command, *flags(server, "--users", "2", "--duration", "1h")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=inherited_environment() | {"TMPDIR": str(scratch)},
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if " requests, " in line)
        started = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        out, _ = process.communicate(timeout=LIMIT_S)

    assert (process.returncode, out) == (128 + signal.SIGTERM, "")
    assert started
    assert [one for one in started if one.is_running()] == []
    assert list(scratch.iterdir()) == []
