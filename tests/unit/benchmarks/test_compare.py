"""The comparison with other servers: what is required, what a request costs, what went wrong."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from benchmarks.compare.loads import Loads
from benchmarks.compare.page import CLIENT, budget, links, page
from benchmarks.compare.processes import spent_s
from benchmarks.compare.required import BUSY, EDGE, HTTP, Required, judge
from benchmarks.compare.rounds import BARE, Problem, Run, SamplesError, kept_samples, own_run
from benchmarks.compare.systems import (
    Endpoints,
    Place,
    System,
    UnknownSystemError,
    all_systems,
    chosen,
)
from benchmarks.compare.wires import v2_binary, v2_json
from benchmarks.load_tools import LoadError, Measured
from benchmarks.loads import Request
from benchmarks.report import Sample

TWICE = Required(peer="peer", load=BUSY, bound=2.0, aim=3.0)
HALF_P50 = Required(peer="peer", load=HTTP.format(1), bound=0.5, of_p50=True)
X = np.arange(16, dtype=np.float32)[None]
Y = np.array([[0.5, -1.0, 2.0, 4.0]], np.float32)


def sample(
    system: str, number: int, per_s: float, load: str = BUSY, *, p50_s: float = 0.001
) -> Sample:
    """One measurement: 1000 requests, for which the client took 10 ms and `part` 50 ms."""
    measured = Measured(
        requests_per_s=per_s, p50_s=p50_s, p99_s=0.002, sent_count=1000, client_cpu_s=0.01
    )
    return Sample(
        system=system, load=load, round=number, measured=measured, cpu_s={"part": 0.05, "idle": 0}
    )


def test_a_bound_holds_for_the_median_of_ratios_within_rounds() -> None:
    """A machine that slows down between rounds changes nothing."""
    samples = [
        *(sample(EDGE, 1, 300), sample("peer", 1, 100)),
        *(sample(EDGE, 2, 21), sample("peer", 2, 10)),
        *(sample(EDGE, 3, 190), sample("peer", 3, 100)),
    ]

    (found,) = judge(samples, [TWICE])

    assert found.ratios == (3.0, 2.1, 1.9)
    assert found.is_reached


def test_a_latency_must_be_a_small_part_of_the_peers() -> None:
    """There a bound is the largest ratio that is allowed."""
    one = HTTP.format(1)
    samples = [sample(EDGE, 1, 1, one, p50_s=0.0006), sample("peer", 1, 1, one, p50_s=0.001)]

    (found,) = judge(samples, [HALF_P50])

    assert found.ratio == pytest.approx(0.6)
    assert found.is_reached is False


def test_runs_with_failures_and_missing_peers_reach_nothing() -> None:
    """Fast failures are no figure, and what was not measured is neither reached nor missed."""
    broken = Measured(requests_per_s=1, p50_s=1, p99_s=1, failures="Non-2xx responses: 3")
    samples = [
        sample(EDGE, 1, 300),
        Sample(system="peer", load=BUSY, round=1, measured=broken),
    ]

    (found,) = judge(samples, [TWICE])

    assert (found.ratio, found.is_reached) == (None, None)


def test_a_budget_shares_what_was_spent_among_all_requests() -> None:
    """Microseconds a request, of the client and of each process that did something."""
    found = budget([sample(EDGE, 1, 300), sample(EDGE, 2, 300)])

    assert found == {EDGE: {CLIENT: pytest.approx(10.0), "part": pytest.approx(50.0)}}


def test_processes_of_one_name_are_one_part() -> None:
    """What each spent counts from where it stood, and from nothing if it is new."""
    before = {1: ("worker", 5.0), 2: ("haproxy", 1.0)}
    after = {1: ("worker", 6.0), 3: ("worker", 0.5), 2: ("haproxy", 1.25)}

    assert spent_s(before, after) == {"worker": 1.5, "haproxy": 0.25}


def test_a_peer_without_figures_is_a_line_of_the_page() -> None:
    """With its reason and its last words."""
    problem = Problem(system="peer", round=2, reason="InstanceError: not within 120 s\nlast words")
    found = judge([sample(EDGE, 1, 300), sample("peer", 1, 100)], [TWICE, HALF_P50])

    text = page("Title", [], found, [], {}, [problem])

    assert "* peer, round 2: InstanceError: not within 120 s" in text
    assert "last words" in text
    assert f"| peer | {BUSY} | ≥ 2 (aim 3) | 3.00 | 3.00..3.00 | yes |" in text
    assert "| not measured |" in text


def test_only_reports_that_are_there_are_linked(tmp_path: Path) -> None:
    """A link to nothing helps nobody."""
    assert links(tmp_path) == ""
    assert ".md](" not in page("Title", [], [], [], {}, [])
    (tmp_path / "wide.md").touch()

    text = links(tmp_path)

    assert "[wide.md](wide.md)" in text
    assert "throughput.md" not in text


def test_a_run_that_was_broken_off_is_read_again(tmp_path: Path) -> None:
    """Samples come back as they were kept."""
    kept = tmp_path / "samples.jsonl"
    run = Run(kept=kept)

    run.keep([sample(EDGE, 1, 300), sample("peer", 1, 100)])

    assert kept_samples(kept) == run.samples
    assert kept_samples(tmp_path / "none.jsonl") == []


class Faulty(Loads):
    """The second load ends with a fault, if there is one."""

    fault: ClassVar[Exception | None] = LoadError("it went away")

    def of(self, at: Endpoints, place: Place) -> Iterator[tuple[str, Measured, dict[str, float]]]:
        """Give a figure for each load."""
        del at, place
        measured = Measured(requests_per_s=1, p50_s=1, p99_s=1)
        yield BUSY, measured, {}
        if self.fault is not None:
            raise self.fault
        yield HTTP.format(1), measured, {}


class Mended(Faulty):
    """It is well again."""

    fault = None


@contextmanager
def _silent(place: Place) -> Iterator[Endpoints]:
    """Start nothing that could be asked."""
    del place
    yield Endpoints(wire=v2_binary(Request(model="tiny", inputs={"x": X})), processes=dict)


@pytest.mark.parametrize("rest", ['{"system": "ed', "{}", "[1]", '{"measured": {"x": 1}}'])
def test_a_sample_that_is_cut_is_told_with_its_line(rest: str, tmp_path: Path) -> None:
    """`--resume` does not go on from what it cannot read, and says what to do."""
    kept = tmp_path / "s.jsonl"
    Run(kept=kept).keep([sample(EDGE, 1, 100)])
    with kept.open("a") as file:
        file.write(rest)

    with pytest.raises(SamplesError, match=r"line 2 is no sample.*leave --resume out"):
        kept_samples(kept)


def test_a_system_that_is_not_there_is_told_with_those_that_are() -> None:
    """Nothing measured is no success."""
    systems = all_systems("")

    with pytest.raises(UnknownSystemError, match=r"no system 'Tritno': there are .*Triton, "):
        chosen(systems, ["edge", "Tritno"])

    assert [one.name for one in chosen(systems, ["edge"])] == ["edge"]
    assert chosen(systems, []) == systems


def test_a_system_that_failed_is_measured_again_when_a_run_goes_on(tmp_path: Path) -> None:
    """Its first figures are in the report of the broken round, and do not pass for a whole one."""
    kept = tmp_path / "samples.jsonl"
    peer = System(name="peer", about="", start=_silent)
    request = Request(model="tiny", inputs={"x": X})
    place = Place(repository=tmp_path, folder=tmp_path, request=request, answer=Y)
    broken = Run(kept=kept)
    broken.keep([sample(BARE, 1, 300)])
    broken.measure(1, [peer], Faulty(seconds=1), place)
    again = Run(kept=kept, samples=kept_samples(kept))
    again.measure(1, [peer], Mended(seconds=1), place)

    assert [one.system for one in broken.problems] == ["peer"]
    assert [one.load for one in broken.samples if one.system == "peer"] == [BUSY]
    assert again.problems == []
    assert [one.load for one in kept_samples(kept)][1:] == [BUSY, HTTP.format(1)]


def test_answers_are_read_on_both_forms_of_the_protocol() -> None:
    """Binary tensors after the JSON, or numbers in it."""
    request = Request(model="tiny", inputs={"x": X})
    head = json.dumps({"outputs": [{"name": "y", "shape": [1, 4]}]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    plain = json.dumps({"outputs": [{"name": "y", "data": Y.ravel().tolist()}]}).encode()

    assert np.array_equal(v2_binary(request).read(head + Y.tobytes(), headers), Y)
    assert np.array_equal(v2_json(request).read(plain, {}), Y)


def test_two_runs_never_share_their_samples(tmp_path: Path) -> None:
    """The second is refused before it removes or adds any; without `--resume` one begins anew."""
    kept = tmp_path / "s.jsonl"
    with own_run(kept, is_resumed=False) as first:
        first.keep([sample(EDGE, 1, 100)])
        with (
            pytest.raises(SamplesError, match="another run keeps its samples there"),
            own_run(kept, is_resumed=False),
        ):
            pytest.fail("both have them")
        assert kept_samples(kept) == first.samples

    with own_run(kept, is_resumed=True) as again:
        assert again.samples == first.samples
    with own_run(kept, is_resumed=False) as anew:
        assert anew.samples == kept_samples(kept) == []
