"""Pure: what is known of drift as a page with plots (`serving.rollout.report.page`)."""

from collections.abc import Iterator, Sequence

from serving.cli.drift_words import alarm_text, effect_text, head, summary_text
from serving.monitor.drift.view import VersionDrift
from serving.rollout.report.page import Items, Page, Paragraph, Plot, Point, Section, Series, Table


def drift_page(model: str, found: Sequence[VersionDrift]) -> Page:
    """Write a page about the versions of a model."""
    alarms = sum(alarm.is_open for each in found for alarm in each.alarms)
    return Page(
        title=f"Drift of {model}",
        lead=f"{len(found)} versions are watched; {alarms} alarms are open.",
        sections=tuple(section for each in found for section in _sections(each)),
    )


def _sections(each: VersionDrift) -> Iterator[Section]:
    lines = head(each)
    words = Items(texts=tuple(line for line in lines[1:] if not line.startswith("score ")))
    yield Section(title=lines[0], blocks=(words, *_plots(each)))
    alarms = Items(texts=tuple(alarm_text(alarm) for alarm in each.alarms))
    none = Paragraph(text="There was none.")
    yield Section(
        title=f"Alarms of {each.model}:{each.version}", blocks=(alarms if each.alarms else none,)
    )
    columns = Table(
        columns=("column", "role", "score", "moved", "reference", "now"),
        rows=tuple(
            (
                one.feature,
                one.role,
                f"{one.score:.2f}",
                effect_text(one),
                summary_text(one.before),
                summary_text(one.after),
            )
            for one in each.features
        ),
        caption="A score of 1 is an alarm. Numbers: median [5 %, 95 %].",
    )
    yield Section(title=f"Columns of {each.model}:{each.version}", blocks=(columns,))


def _plots(each: VersionDrift) -> Iterator[Plot]:
    if not each.history:
        return
    first_s = each.history[0].at_s
    points = tuple(Point(x=one.at_s - first_s, y=one.score) for one in each.history)
    alarm = tuple(Point(x=point.x, y=1.0) for point in (points[0], points[-1]))
    yield Plot(
        title="The largest score of all columns",
        unit="1 is an alarm",
        series=(
            Series(name="score", points=points),
            Series(name="alarm", points=alarm, is_candidate=False, is_dashed=True),
        ),
    )
