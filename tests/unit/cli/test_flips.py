"""The proof from a ledger: which answers may come from which version."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import InvalidArgumentError
from serving.cli.load.flips import Flip, judge, read_flips
from serving.cli.load.ledger import Entry, Heading

FLIPS = (
    Flip(from_version="1", to_version="2", began_s=10.0, done_s=11.0),
    Flip(from_version="2", to_version="1", began_s=20.0, done_s=21.0),
)
HEAD = Heading(model="m", monotonic_s=100.0, utc=datetime(2026, 1, 1, tzinfo=UTC))


def entry(version: str, sent_s: float, answered_s: float, *, began_s: float | None = None) -> Entry:
    """An answer; with `began_s` one of a sequence."""
    return Entry(
        transport="http",
        began_s=sent_s if began_s is None else began_s,
        sent_s=sent_s,
        answered_s=answered_s,
        version=version,
        sequence=0 if began_s is None else 1,
    )


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (entry("1", 5, 6), "clean"),
        (entry("1", 9.9, 30), "clean"),
        (entry("1", 10.5, 10.6), "clean"),
        (entry("2", 10.5, 10.6), "clean"),
        (entry("1", 11.0, 11.1), "stale"),
        (entry("2", 15, 15.1), "clean"),
        (entry("2", 9.9, 10.2), "early"),
        (entry("2", 9.0, 9.5), "stale"),
        (entry("2", 21.5, 22), "stale"),
        (entry("3", 15, 16), "stale"),
        (entry("", 15, 16), "clean"),
    ],
    ids=[
        "before",
        "long-request",
        "old-during",
        "new-during",
        "old-after",
        "new-after",
        "sent-before-answered-by-new",
        "answered-before-the-flip",
        "old-after-second",
        "never-live",
        "no-answer",
    ],
)
def test_an_answer_comes_from_a_live_version(answer: Entry, expected: str) -> None:
    """A request gets a version that was live when it was sent; between the instants either."""
    judged = judge([answer], FLIPS)

    verdict = "stale" if judged.stale else "early" if judged.early else "clean"
    assert verdict == expected
    assert judged.is_clean() == (expected != "stale")


def test_a_sequence_may_end_where_it_began() -> None:
    """Steps of a sequence may stay on the version that was live when it began; it is counted."""
    judged = judge([entry("1", 15, 15.1, began_s=9.0), entry("1", 15, 15.1, began_s=14.0)], FLIPS)

    assert (judged.finished_count, len(judged.stale)) == (1, 1)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=20), st.floats(0, 100))
def test_every_moment_has_a_live_version(times_s: list[float], sent_s: float) -> None:
    """However flips lie, some version may answer at each moment, and a third one never."""
    bounds = sorted(times_s)[: len(times_s) // 2 * 2]
    pairs = zip(bounds[::2], bounds[1::2], strict=True)
    flips = [
        Flip(
            from_version=str(index % 2),
            to_version=str(1 - index % 2),
            began_s=began_s,
            done_s=done_s,
        )
        for index, (began_s, done_s) in enumerate(pairs)
    ]
    judged = [judge([entry(version, sent_s, sent_s)], flips) for version in ("0", "1", "2")]

    assert any(one.is_clean() for one in judged[:2])
    assert not judged[2].is_clean()


def test_flips_must_follow_one_another() -> None:
    """Flips that overlap, or that begin at a version that was not live, prove nothing."""
    with pytest.raises(InvalidArgumentError, match="do not follow"):
        judge([], (FLIPS[1], FLIPS[0]))


def test_flips_are_read_back(tmp_path: Path) -> None:
    """What was written is read, and times of the wall clock are times of the ledger's clock."""
    written = tmp_path / "flips.jsonl"
    written.write_text(
        '{"from_version": "1", "to_version": "2", "began_s": 10.0, "done_s": 11.0}\n'
        '{"from_version": "2", "to_version": "1", "began_s": 20.0, "done_s": 21.0}\n'
    )
    told = tmp_path / "told.jsonl"
    told.write_text(
        '{"from_version": "1", "to_version": "2", "began_utc": "2026-01-01T00:00:01Z", '
        '"done_utc": "2026-01-01T00:00:02.5Z"}\n'
    )

    assert read_flips(written, HEAD) == FLIPS
    assert [(flip.began_s, flip.done_s) for flip in read_flips(told, HEAD)] == [(101.0, 102.5)]


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "no flip"), ('{"from_version": "1", "to_version": "2"}', "needs began_s")],
    ids=["no-json", "no-instants"],
)
def test_a_line_that_is_no_flip_is_named(text: str, words: str, tmp_path: Path) -> None:
    """The file and the line are in the refusal."""
    (tmp_path / "f").write_text(text)

    with pytest.raises(InvalidArgumentError, match=f"line 1 .*{words}|{words}"):
        read_flips(tmp_path / "f", HEAD)
