"""What the report of too many calls counts as good, and as a fault."""

from benchmarks.overload import BOUND_S, REFUSED, Stage, page
from serving.cli.load.open_loop import ANSWERED, Call

STAGE = Stage(
    share=1.5,
    rate=3.0,
    seconds=2.0,
    calls=[
        Call(status=ANSWERED, took_s=BOUND_S),
        Call(status=ANSWERED, took_s=3 * BOUND_S),
        Call(status=REFUSED, took_s=0.002, has_retry_after=True),
        Call(status=REFUSED, took_s=0.002),
        Call(status=0, took_s=30.0),
        Call(status=500, took_s=0.1),
    ],
    memory_bytes=(1 << 20, 2 << 20),
)


def test_an_answer_that_comes_late_is_not_good() -> None:
    """Goodput is what came in time; a latency is one of all answers."""
    assert STAGE.good_per_s() == 0.5
    assert STAGE.times_s(ANSWERED) == [BOUND_S, 3 * BOUND_S]


def test_a_refusal_says_when_to_come_back() -> None:
    """One that does not is a fault, as is anything but an answer or a refusal."""
    assert STAGE.faults() == 3
    assert "| 1.50 | 3 | 0 | 0.25 |" in page([STAGE])
    assert "| 2.0 | 2.0 | 3 | 1 → 2 |" in page([STAGE])
