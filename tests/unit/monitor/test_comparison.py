"""Parts of a comparison add up."""

from serving.monitor.comparison import (
    ComparisonReport,
    OutputDifference,
    WorstRow,
    merge_comparisons,
)


def worst(score: float) -> WorstRow:
    """A row."""
    return WorstRow(
        output="y", row=0, score=score, expected="", found="", inputs="", request_sha256=""
    )


def test_live_and_candidate_tell_one_story() -> None:
    """What one copied and what others compared is one report; another pair is another."""
    live = ComparisonReport(model="m", version=2, against=1, copied_calls=9, dropped_calls=2)
    seen = ComparisonReport(
        model="m",
        version=2,
        against=1,
        compared_calls=3,
        compared_rows=30,
        mismatched_rows=4,
        failed_calls=1,
        failure="shape",
        outputs={"y": OutputDifference(mismatched_rows=4, largest_absolute_error=0.5)},
        worst=tuple(worst(score) for score in range(8)),
    )
    other = ComparisonReport(model="m", version=3, against=1, copied_calls=1)
    merged, apart = merge_comparisons([live, seen, other, seen])
    assert apart == other
    assert (merged.copied_calls, merged.dropped_calls) == (9, 2)
    assert (merged.compared_calls, merged.compared_rows, merged.mismatched_rows) == (6, 60, 8)
    assert (merged.failed_calls, merged.failure) == (2, "shape")
    assert merged.outputs["y"] == OutputDifference(mismatched_rows=8, largest_absolute_error=0.5)
    assert [row.score for row in merged.worst] == [7, 7, 6, 6, 5, 5, 4, 4, 3, 3]
