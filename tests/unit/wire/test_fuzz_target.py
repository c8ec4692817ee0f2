"""The fuzz target itself: its seeds are valid requests, and a short run finds nothing."""

from random import Random

from tests.fuzz.__main__ import Fuzzer


def test_a_short_run_finds_nothing() -> None:
    """Every seed is read as it was written, and some hundred spoilt requests are judged well."""
    fuzzer = Fuzzer()
    fuzzer.check_seeds()
    chance = Random(7)  # noqa: S311  no secret
    for _ in range(300):
        fuzzer.one(chance)
    assert fuzzer.failures == []
    assert sum(fuzzer.counts.values()) == 300
