"""What labels say, as samples of metrics."""

from collections.abc import Iterable, Iterator

from serving.monitor import label_catalogue as catalogue
from serving.monitor.exposition import Sample
from serving.monitor.labels.summary import LabelSummary


def label_samples(summaries: Iterable[LabelSummary]) -> Iterator[Sample]:
    """Yield the samples of all versions."""
    for one in summaries:
        labels = (one.model, str(one.version), one.output)
        yield Sample(catalogue.ANSWERED_ROWS, one.rows, labels)
        yield Sample(catalogue.LABELLED_ROWS, one.labelled_rows, labels)
        yield Sample(catalogue.LABEL_DROP, int(one.is_dropped), labels)
        yield Sample(catalogue.LABEL_DROP_SCORE, one.drop_score, labels)
        measured = (
            (catalogue.LABEL_ACCURACY, one.accuracy),
            (catalogue.LABEL_ERROR, one.mae),
            (catalogue.LABEL_DELAY, one.delay_p50_s),
        )
        yield from (Sample(spec, value, labels) for spec, value in measured if value is not None)
