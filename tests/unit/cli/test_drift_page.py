"""What people see of a watched version: lines for a terminal, a page with a plot."""

from serving.cli.drift_page import drift_page
from serving.cli.drift_words import effect_text, head, long_text, spark, summary_text
from serving.monitor.drift.view import (
    Acknowledgement,
    DriftAlarm,
    FeatureDrift,
    ScorePoint,
    VersionDrift,
    WatchState,
)
from serving.rollout.report.html import html

NUMBER = {"mean": 0.0, "p05": -1.5, "p50": 0.25, "p95": 1.5, "missing": 0.02}
LEVEL = {
    "top_levels": [["red", 0.6], ["<b>", 0.3]],
    "other": 0.0,
    "never_seen": 0.05,
    "missing": 0.0,
}
ALARM = DriftAlarm(
    id="a-1",
    severity="critical",
    kind="input",
    feature="age",
    text="CRITICAL m v1: feature 'age' moved",
    since_s=0.0,
    at_s=1.0,
    last_s=2.0,
    last_row=64,
    count=3,
    acknowledged=Acknowledgement(who="ann", reason="known", at_s=3.0),
)
WATCHED = VersionDrift(
    model="m",
    version=1,
    state=WatchState.ALARM,
    reference="reference.drift",
    reference_rows=5_000,
    calibration="independent",
    most_severe="critical",
    threshold=1.5,
    rows_between_false_alarms=195_000,
    seconds_between_false_alarms=19 * 60.0,
    rows=4_000,
    rows_per_s=170.0,
    worker_count=2,
    features=(
        FeatureDrift(
            feature="age",
            place=0,
            role="input",
            score=1.4,
            effect_name="Wasserstein/std",
            effect=0.5,
            before=NUMBER,
            after=NUMBER,
        ),
        FeatureDrift(
            feature="colour",
            place=1,
            role="input",
            score=0.1,
            effect_name="share",
            effect=0.05,
            before=LEVEL,
            after={},
        ),
    ),
    alarms=(ALARM,),
    history=tuple(
        ScorePoint(at_s=float(at), rows=64 * at, score=at / 100, feature="age")
        for at in range(1, 121)
    ),
)


def test_scores_are_a_line_of_bars_up_to_the_alarm() -> None:
    """At most 60, each the highest of its stretch; an alarm has the highest bar."""
    line = spark(WATCHED.history)

    assert len(line) == 60
    assert line[0] == "▁"
    assert line[-1] == "█"
    assert list(line) == sorted(line)


def test_the_head_says_how_often_it_errs() -> None:
    """In rows, and in time at the rate of now."""
    lines = head(WATCHED)

    assert lines[0] == "m:1  ALARM  reference: reference.drift (5,000 rows, independent)"
    assert "one in 195,000 rows, 19 minutes at this rate; most severe: critical" in lines[2]


def test_columns_are_said_in_their_own_units() -> None:
    """Numbers by quantiles and standard deviations, levels by shares and points."""
    age, colour = WATCHED.features

    assert summary_text(age.before) == "0.25 [-1.5, 1.5], missing 2.0 %"
    assert effect_text(age) == "0.50 sd"
    assert summary_text(colour.before) == "red 60 %, <b> 30 %, never seen 5.0 %"
    assert (summary_text(colour.after), effect_text(colour)) == ("-", "5.0 points")
    assert long_text(30 * 86_400.0) == "30 days"


def test_the_page_has_a_plot_and_escapes_what_strangers_wrote() -> None:
    """Values of columns come from traffic."""
    text = html(drift_page("m", [WATCHED]))

    assert "<svg" in text
    assert "&lt;b&gt; 30 %" in text
    assert "<b>" not in text
    assert "Acknowledged by ann" in text
    assert "1 versions are watched; 1 alarms are open." in text
