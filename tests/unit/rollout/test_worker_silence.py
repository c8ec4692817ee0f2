"""When a worker that does not answer counts as hanging."""

from serving.rollout.silence import LATE_S, Silence

LIMIT_S = 20.0


def test_a_worker_that_is_silent_for_the_limit_hangs() -> None:
    """From the last thing that it said, over as many questions as it takes."""
    silence = Silence(100.0)
    assert silence.hung_s(101.0, LIMIT_S, 110.0) == 0
    assert silence.hung_s(111.0, LIMIT_S, 131.0) == 31.0


def test_an_answer_ends_the_silence() -> None:
    """It begins anew behind it."""
    silence = Silence(100.0)
    silence.end(119.0)
    assert silence.hung_s(120.0, LIMIT_S, 138.0) == 0
    assert silence.hung_s(120.0, LIMIT_S, 140.0) == 21.0


def test_who_comes_late_to_look_has_heard_nothing() -> None:
    """A question that ended long after its limit had its answer lie there: we were busy."""
    silence = Silence(100.0)
    late_s = 101.0 + LIMIT_S + LATE_S + 1
    assert silence.hung_s(101.0, LIMIT_S, late_s) == 0
    assert silence.hung_s(late_s + 1, LIMIT_S, late_s + 1) == 0
    assert silence.hung_s(late_s + 1, LIMIT_S, late_s + 1 + LIMIT_S) == LIMIT_S + 1
