"""What people read of an instance, in a terminal of eighty columns."""

import io
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from runtimes.findings import Severity
from serving.cli.render import console, duration_text, size_text, status_view
from serving.cli.tables import plain_table
from serving.edge.control import ClusterStatus, EdgeStatus, VersionRecord, WorkerStatus
from serving.registry.version import VersionState
from tests.fakes.gate_parts import finding

REASON = (
    "config.pbtxt: input 'x' has datatype FP64, the model has FP32: write data_type: TYPE_FP32, "
    "or export the model again with FP64"
)
READY = VersionRecord(model="m", version=1, state=VersionState.READY, pool="s1", isolation="shared")
FAILED = VersionRecord(model="m", version=2, state=VersionState.UNAVAILABLE, reason=REASON)


def shown(
    versions: Sequence[VersionRecord], *, last_exit: str = "", node: str = "local"
) -> list[str]:
    """The lines of `bascule status` at eighty columns."""
    status = ClusterStatus(
        mode="standalone",
        home="/srv/bascule",
        model_control="none",
        revision=7,
        ready=all(item.state is VersionState.READY for item in versions),
        settled=True,
        live={"m": 1},
        versions=tuple(versions),
        workers=(
            WorkerStatus(
                worker="s1-0", pool="s1", node="local", pid=4711, state="ready", last_exit=last_exit
            ),
        ),
        edges=(EdgeStatus(node=node, haproxy_pid=4712, revision=7),),
        http="127.0.0.1:8000",
        grpc="127.0.0.1:8001",
        metrics="127.0.0.1:8002",
    )
    text = io.StringIO()
    Console(file=text, width=80, highlight=False).print(status_view(status))
    return text.getvalue().splitlines()


def test_a_long_reason_has_the_whole_width() -> None:
    """A failed version keeps one line in the table; its reason stands below, as one sentence."""
    lines = shown((READY, FAILED))
    row = next(index for index, line in enumerate(lines) if "UNAVAILABLE" in line)

    below = " ".join(line.strip() for line in lines[row + 1 : row + 3])

    assert below == f"m:2: {REASON}"
    assert "workers" in lines[row + 3]


def test_a_warning_stands_below_the_table_with_its_remedy() -> None:
    """A version that serves although something is odd says what, with the check's code."""
    odd = replace(READY, findings=(finding(Severity.WARNING), finding(Severity.INFO, "BP-X00")))

    text = " ".join(line.strip() for line in shown((odd,)))

    assert f"m:1: warning {finding(Severity.WARNING)}" in text
    assert "BP-X00" not in text


def test_what_is_waived_is_told_with_who_and_until_when() -> None:
    """An error that somebody allows is shown in status as such, with its waiver."""
    waived = replace(finding(Severity.INFO), waiver="until May by ana: it is ordered")

    text = " ".join(line.strip() for line in shown((replace(READY, findings=(waived,)),)))

    assert f"m:1: allowed {waived}" in text
    assert "(waived until May by ana: it is ordered)" in text


def test_versions_without_a_reason_take_no_room() -> None:
    """Where nothing is to be said, the workers follow the versions at once."""
    lines = shown((READY,))
    row = next(index for index, line in enumerate(lines) if "READY" in line)

    assert lines[row + 1].strip() == "workers"


def test_a_reason_is_no_markup() -> None:
    """Brackets in an engine's words are printed, not obeyed."""
    reason = "expected [-1,16], got [bold]"
    lines = shown((VersionRecord(model="m", version=2, state=FAILED.state, reason=reason),))

    assert f"m:2: {reason}" in lines


def test_a_nodes_long_name_is_cut() -> None:
    """Ray's names of nodes have 56 characters; the first ones tell nodes apart in a line."""
    node = "960fe4df64dd90cc9781d9308c86946432343698f89bf88b2536a5ee"

    assert any(line.split() == [node[:12], "4712", "7", "0"] for line in shown((READY,), node=node))


def test_every_row_fits_in_the_terminal() -> None:
    """A worker's last end does not break the other cells of its row."""
    lines = shown((READY, FAILED), last_exit="killed by signal 9")

    assert any("4711" in line and "killed by signal 9" in line for line in lines)


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "0 B"), (9_400, "9.4 kB"), (80_000_000, "80 MB")]
)
def test_sizes_are_for_people(size_bytes: int, text: str) -> None:
    """Two digits and a unit."""
    assert size_text(size_bytes) == text


@pytest.mark.parametrize(
    ("duration_s", "text"), [(0.0, "-"), (25e-6, "25 µs"), (0.0042, "4.20 ms"), (3.0, "3.0 s")]
)
def test_durations_are_for_people(duration_s: float, text: str) -> None:
    """A dash for what was not measured."""
    assert duration_text(duration_s) == text


def test_a_table_keeps_its_names_whole() -> None:
    """However narrow the terminal is, the first column is neither cut nor folded."""
    name = "a_name_of_more_than_thirty_characters"
    table = plain_table(("name", "meaning"))
    table.add_row(name, "what it means, in more words than a line has")
    text = io.StringIO()

    Console(file=text, width=50, highlight=False).print(table)

    assert name in text.getvalue()


@pytest.mark.parametrize("width", [20, 30, 40, 50, 60, 80, 120])
def test_no_figure_is_folded_however_narrow_the_terminal_is(width: int) -> None:
    """A figure in two lines reads as two: columns of words fold, or each cell has a line."""
    figures = ("0.56", "-0.02462", "[-1.612,", "1.603]", "194,957", "22:39:05", "98.5%")
    table = plain_table(("column", "score", "reference", "rows", "at", "share", "what"))
    table.add_row("x[0]", *figures[:1], " ".join(figures[1:4]), *figures[4:], "many words of it")
    text = io.StringIO()

    Console(file=text, width=width, highlight=False).print(table)

    found = text.getvalue().split()
    assert [figure for figure in figures if figure not in found] == []
    assert max(map(len, text.getvalue().splitlines())) <= width
    assert {"x[0]", "many", "words", "column", "score"} <= {*found}


def test_where_there_is_no_terminal_lines_are_as_wide_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A program that reads a table finds each row in one line, with nothing left out."""
    cells = ("name" * 20, "word " * 40 + "end")
    table = plain_table(("name", "meaning"))
    table.add_row(*cells)
    table.add_row("a name", "")

    console().print(table)

    _, row, short = capsys.readouterr().out.splitlines()
    assert row.split("  ") == list(cells)
    assert short == "a name"
