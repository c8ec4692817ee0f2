"""Pure: what contracts counted → metric samples."""

from collections.abc import Iterable, Iterator

from serving.ids import VersionKey
from serving.monitor import catalogue
from serving.monitor.exposition import Sample
from serving.monitor.quality.report import QualityReport, merged
from serving.monitor.statistics import VersionStatistics


def quality_samples(statistics: Iterable[VersionStatistics]) -> Iterator[Sample]:
    """Give the samples of the versions that have a contract, whatever GPU they ran on."""
    reports: dict[VersionKey, QualityReport | None] = {}
    for item in statistics:
        reports[item.key] = merged(reports.get(item.key), item.quality)
    for key, report in reports.items():
        if report is not None:
            yield from _of_version(report, (key.model, str(key.version)))


def _of_version(report: QualityReport, labels: tuple[str, str]) -> Iterator[Sample]:
    counts = (
        (catalogue.CONTRACT_ROWS, report.row_count),
        (catalogue.CONTRACT_BAD_ROWS, report.violating_row_count),
        (catalogue.CONTRACT_REJECTED, report.rejected_request_count),
        (catalogue.CONTRACT_WITHHELD, report.withheld_answer_count),
    )
    for metric, count in counts:
        yield Sample(metric, count, labels)
    for rule in report.rules:
        places = (*labels, rule.name, rule.rule, rule.action.value)
        yield Sample(catalogue.VIOLATIONS, rule.row_count, places)
    for missing in report.missing:
        ways = (*labels, missing.name, missing.kind.value)
        yield Sample(catalogue.MISSING_VALUES, missing.count, ways)
    for rate in report.rates():
        yield Sample(catalogue.CONTRACT_RATE, rate.rate, (*labels, rate.rule))
        yield Sample(catalogue.CONTRACT_ALARM, int(rate.is_alarm), (*labels, rate.rule))
    ages = (
        (catalogue.EVENT_LAG, report.event_lag_s),
        (catalogue.REFERENCE_AGE, report.reference_age_s),
        (catalogue.TRAINING_AGE, report.training_age_s),
    )
    for metric, age_s in ages:
        if age_s is not None:
            yield Sample(metric, age_s, labels)
