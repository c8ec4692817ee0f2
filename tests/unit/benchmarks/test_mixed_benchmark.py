"""The report on several models of one server: what is held against what."""

from benchmarks.mixed import ALONE, Beside, Together, page


def besides(number: int, quiet_ms: float, busy_ms: float) -> list[Beside]:
    """Return one round: beside nobody, and beside `mid`."""
    return [
        Beside(round=number, neighbour=name, p50_s=p99_ms / 2e3, p99_s=p99_ms / 1e3, failures="")
        for name, p99_ms in ((ALONE, quiet_ms), ("mid", busy_ms))
    ]


def together(
    number: int, tiny_per_s: float, mid_per_s: float, failures: str = ""
) -> list[Together]:
    """Return one round of two models that make 1,000 and 100 calls/s alone."""
    return [
        Together(round=number, model="tiny", alone_per_s=1000.0, together_per_s=tiny_per_s,
                 failures=failures),
        Together(round=number, model="mid", alone_per_s=100.0, together_per_s=mid_per_s,
                 failures=""),
    ]  # fmt: skip


def test_times_are_compared_within_their_round() -> None:
    """A round on a slow machine changes no ratio: 3, 3 and 2 times, not 30 ms against 1."""
    rounds = [*besides(0, 1.0, 3.0), *besides(1, 10.0, 30.0), *besides(2, 1.0, 2.0)]
    assert "| mid | 1.50 | 3.00 | 3.0 |" in page(rounds, together(0, 500.0, 50.0))


def test_shares_are_added_up_round_by_round() -> None:
    """0.6 + 0.6, 0.5 + 0.5 and 0.2 + 0.2: the median round kept as much as one model alone."""
    rounds = [
        *together(0, 600.0, 60.0), *together(1, 500.0, 50.0), *together(2, 200.0, 20.0)
    ]  # fmt: skip
    text = page(besides(0, 1.0, 3.0), rounds)
    assert "| tiny | 1,000 | 500 | 0.50 |" in text
    assert "| sum of shares | | | 1.00 |" in text


def test_what_failed_is_told() -> None:
    """It is not lost in a median."""
    text = page(besides(0, 1.0, 3.0), together(0, 600.0, 60.0, "Non-2xx or 3xx responses: 7"))
    assert "* FAILED: Non-2xx or 3xx responses: 7" in text
