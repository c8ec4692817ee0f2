"""What labels say of versions, as metrics."""

from typing import Final

from serving.monitor.metric_spec import MetricSpec, When, of_version

LABELS_POSTED: Final = MetricSpec(
    name="bascule_labels_posted_total",
    kind="counter",
    help="Labels that this node has kept since its edge started, where predictions are logged",
    when=When.PREDICTION_LOG,
)
ANSWERED_ROWS: Final = of_version(
    "bascule_answered_rows",
    "gauge",
    "Logged rows that were compared with labels",
    "output",
    when=When.LABELS,
)
LABELLED_ROWS: Final = of_version(
    "bascule_labelled_rows", "gauge", "Those of them that have a label", "output", when=When.LABELS
)
LABEL_ACCURACY: Final = of_version(
    "bascule_label_accuracy",
    "gauge",
    "Share of labelled rows that were classified right",
    "output",
    when=When.LABELS,
)
LABEL_ERROR: Final = of_version(
    "bascule_label_absolute_error",
    "gauge",
    "Mean absolute error of labelled rows",
    "output",
    when=When.LABELS,
)
LABEL_DELAY: Final = of_version(
    "bascule_label_delay_seconds",
    "gauge",
    "Median time from an answer to the moment when its label was known",
    "output",
    when=When.LABELS,
)
LABEL_DROP: Final = of_version(
    "bascule_label_drop",
    "gauge",
    "1 if the version has become worse by its labels",
    "output",
    when=When.LABELS,
)
LABEL_DROP_SCORE: Final = of_version(
    "bascule_label_drop_score",
    "gauge",
    "Evidence for that; 1 is the alarm",
    "output",
    when=When.LABELS,
)
