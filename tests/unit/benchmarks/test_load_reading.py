"""What load generators print is read right, and no failure gets lost on the way to a table."""

import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.load_tools import LoadError, Measured, grpc_load, http_load, read_h2load, read_wrk
from benchmarks.loads import Request
from benchmarks.report import Row, Sample, markdown, rows

WRK = """Running 2s test @ http://127.0.0.1:8000/v2/models/tiny/infer
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   761.10us  301.20us   9.60ms   92.71%
    Req/Sec    42.13k     1.90k   44.91k    80.00%
  Latency Distribution
     50%  680.00us
     75%  820.00us
     90%    1.01ms
     99%    2.30ms
  83912 requests in 2.00s, 17.60MB read
Requests/sec:  41944.76
Transfer/sec:      8.80MB
"""
WRK_FAILED = (
    "  Socket errors: connect 0, read 3, write 0, timeout 0\n  Non-2xx or 3xx responses: 12\n"
)
H2LOAD = """finished in 2.00s, {done}.00 req/s, 101.00KB/s
requests: {done} total, {done} started, {done} done, {good} succeeded, {bad} failed, 0 errored
status codes: {good} 2xx, 0 3xx, 0 4xx, {bad} 5xx
traffic: 1.00KB (1024) total, 78B (78) headers (space savings 3.70%), 47B ({data}) data
"""
LOG = "1\t200\t100\n2\t200\t200\n3\t200\t300\n"


def h2load(done: int, data: int, bad: int = 0) -> str:
    """What h2load prints."""
    return H2LOAD.format(done=done, good=done - bad, bad=bad, data=data)


def sample(system: str, number: int, per_s: float, failures: str = "") -> Sample:
    """One measurement of one load."""
    measured = Measured(
        requests_per_s=per_s, p50_s=0.001, p99_s=0.002, failures=failures, sent_count=100
    )
    return Sample(system=system, load="HTTP, 1 connections", round=number, measured=measured)


def test_wrk_is_read() -> None:
    """Rate and percentiles, in seconds whatever unit wrk chose."""
    measured = read_wrk(WRK)

    assert measured.requests_per_s == 41944.76
    assert (measured.p50_s, measured.p99_s) == pytest.approx((0.00068, 0.0023))
    assert measured.failures == ""


def test_a_percentile_of_the_summary_is_not_taken_for_one_of_the_distribution() -> None:
    """The summary's last column may end in 50% or 99%, too."""
    measured = read_wrk(WRK.replace("92.71%", "85.50%").replace("80.00%", "70.99%"))

    assert (measured.p50_s, measured.p99_s) == pytest.approx((0.00068, 0.0023))


def test_wrk_failures_are_kept() -> None:
    """Both kinds of failure are in the measurement."""
    assert read_wrk(WRK + WRK_FAILED).failures == (
        "Socket errors: connect 0, read 3, write 0, timeout 0; Non-2xx or 3xx responses: 12"
    )


def test_h2load_is_read() -> None:
    """Rate from its report, the median from its log."""
    measured = read_h2load(h2load(1, 47), h2load(3, 3 * 47), LOG, connections=1)

    assert measured.requests_per_s == 3
    assert measured.p50_s == pytest.approx(0.0002)
    assert measured.failures == ""


def test_h2load_may_get_one_more_reply_on_each_connection() -> None:
    """Replies that arrive at the end of a timed run are no sign of errors."""
    assert read_h2load(h2load(1, 47), h2load(3, 5 * 47), LOG, connections=2).failures == ""


@pytest.mark.parametrize(
    ("one", "many"),
    [
        pytest.param(h2load(1, 47), h2load(3, 2 * 47), id="a reply without data"),
        pytest.param(h2load(1, 0), h2load(3, 0), id="only replies without data"),
        pytest.param(h2load(1, 47), h2load(3, 3 * 47, bad=1), id="a status 5xx"),
    ],
)
def test_grpc_errors_are_noticed(one: str, many: str) -> None:
    """A gRPC error is an HTTP success without data, and counts as a failure all the same."""
    assert read_h2load(one, many, LOG, connections=2).failures != ""


def test_unknown_output_is_an_error() -> None:
    """Nothing is made up from text that is not understood."""
    with pytest.raises(LoadError, match="Requests/sec"):
        read_wrk("wrk: unknown option")


def test_ratios_are_taken_within_rounds() -> None:
    """A machine that slows down between rounds does not change the ratio."""
    table = rows(
        [
            sample("edge", 1, 100),
            sample("peer", 1, 50),
            sample("edge", 2, 10),
            sample("peer", 2, 5),
            sample("edge", 3, 40),
            sample("peer", 3, 10),
        ]
    )

    assert table[1].ratios == (("edge", 0.5),)
    assert (table[0].requests_per_s, table[0].least_per_s, table[0].most_per_s) == (40, 10, 100)


def test_too_little_time_on_cpus_is_not_told() -> None:
    """Linux counts hundredths of a second: a system that spent none of them has no figure."""
    seconds = {"edge": 0.2, "peer": 0.0}
    table = rows(
        [replace(sample(name, 1, 100), cpu_s={"all": spent}) for name, spent in seconds.items()]
    )

    assert [row.cpu_us > 0 for row in table] == [True, False]
    assert [row.cpu_ratios for row in table] == [(), ()]
    assert " 0.0 |" not in markdown("Title", table, "edge")


@pytest.mark.parametrize(("number", "per_s"), [(2, 90), (1, 0)], ids=["other round", "nothing"])
def test_what_cannot_be_compared_has_no_ratio(number: int, per_s: float) -> None:
    """A peer of another round only, or one that answered nothing, is a row all the same."""
    table = rows([sample("edge", 1, 100), sample("peer", number, per_s)])

    assert dict(table[0].ratios) == {}
    assert markdown("Title", table, "peer").count("| edge |") == 1


def test_failures_are_shouted() -> None:
    """A row with a failed request is marked, and the page says what failed."""
    table: list[Row] = rows([sample("edge", 1, 100), sample("edge", 2, 90, "Non-2xx: 3")])

    page = markdown("Title", table, "edge")

    assert "edge **FAILED**" in page
    assert "Non-2xx: 3" in page


def test_a_request_says_the_same_on_both_wires(tmp_path: Path) -> None:
    """Both bodies carry the tensor's bytes, with the lengths in front that the wires want."""
    x = np.arange(16, dtype=np.float32)[None]
    request = Request(model="tiny", inputs={"x": x})

    body, header_bytes = request.http_body()
    frame = request.grpc_frame()

    assert body[header_bytes:] == x.tobytes()
    assert frame[:5] == b"\0" + struct.pack(">I", len(frame) - 5)
    assert x.tobytes() in frame
    assert str(header_bytes) in request.write_for_wrk(tmp_path).read_text()


def test_a_load_that_does_not_end_is_an_error_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system that takes calls and never answers is a line of the report, like other faults."""

    def run(command: list[str], *, timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr("benchmarks.load_tools.subprocess.run", run)

    with pytest.raises(LoadError, match="h2load has not ended within 60 s"):
        grpc_load("127.0.0.1:1", tmp_path / "body", 1, 1.0)


def test_a_load_without_an_answer_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No figure is made of nothing, and no open loop of a rate of 0."""
    nothing = WRK.replace("83912 requests", "0 requests").replace("41944.76", "0.00")

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, stdout=nothing)

    monkeypatch.setattr("benchmarks.load_tools.subprocess.run", run)

    with pytest.raises(LoadError, match="/infer: not one answer in 3 s"):
        http_load("127.0.0.1:1", "/infer", tmp_path / "x.lua", 1, 3.0)
