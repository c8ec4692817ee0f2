"""What the report of swaps counts, and what it divides."""

from benchmarks.swap_report import Window, all_of, judged, page
from serving.cli.load.flips import Flip
from serving.cli.load.ledger import Entry, Ledger, Outcome

FLIPS = (Flip(from_version="1", to_version="2", began_s=10.0, done_s=10.1),)
WINDOWS = (Window(began_s=10.0, ended_s=12.0), Window(began_s=99.0, ended_s=100.0))


def ledger(*entries: Entry) -> Ledger:
    """A ledger of these requests."""
    written = Ledger()
    for entry in entries:
        written.add(entry)
    return written


def entry(sent_s: float, took_s: float, version: str, outcome: Outcome = Outcome.RIGHT) -> Entry:
    """A request."""
    return Entry(
        transport="http",
        began_s=sent_s,
        sent_s=sent_s,
        answered_s=sent_s + took_s,
        version=version,
        outcome=outcome,
        error="" if outcome is Outcome.RIGHT else "503: sequence 1718928151774 is full",
    )


def test_times_in_swaps_are_divided_by_steady_ones() -> None:
    """A request belongs to a swap if it was sent in its window; warming up and rollbacks do not."""
    run = judged(
        "m",
        ledger(entry(0, 7, "1"), entry(1, 0.1, "1"), entry(11, 0.3, "2"), entry(200, 9, "2")),
        FLIPS,
        WINDOWS,
        0.5,
        (),
    )

    (whole, _) = run.kinds
    assert (whole.steady_count, whole.swap_count) == (1, 1)
    assert round(whole.ratio(), 6) == 3
    assert run.is_clean()


def test_every_fault_is_in_the_report() -> None:
    """A lost request and a stale answer make the run unclean; faults are told without numbers."""
    run = judged(
        "m", ledger(entry(50, 0.1, "1"), entry(51, 0.1, "", Outcome.FAILED)), FLIPS, WINDOWS, 0, ()
    )

    assert (run.stale_count, run.faults) == (1, {"http: 503: sequence N is full": 1})
    assert not run.is_clean()
    together = all_of([], WINDOWS, 0)
    assert "1 times** http: 503" in page("standalone", together, [run])


def test_callers_of_all_models_are_one_crowd() -> None:
    """The first row is about all answers, whichever model gave them."""
    one, other = ledger(entry(1, 0.1, "1"), entry(11, 0.3, "2")), ledger(entry(11, 0.2, "2"))

    found = all_of([one, other], WINDOWS, 0)

    assert (found.steady_count, found.swap_count) == (1, 2)
    assert round(found.ratio(), 6) == 3
