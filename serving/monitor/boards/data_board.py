"""The board of what models are asked: contracts, missing values, drift, ages, logs."""

from serving.monitor import catalogue, label_catalogue
from serving.monitor.boards.layout import Board, Row
from serving.monitor.boards.queries import JOBS, MODEL, MODELS, line, per_second, value


def data_board() -> Board:
    """Return the board."""
    return Board(
        name="data",
        title="Bascule: drift and quality",
        about="Whether what models are asked is what they were made for.",
        variables=(JOBS, MODELS),
        rows=(
            _contract(),
            _drift(),
            _ages(),
            _labels(),
            _log(),
        ),
    )


def _contract() -> Row:
    """Show what data contracts saw."""
    version = "model, version"
    legend = "{{model}}:{{version}}"
    bad = per_second(catalogue.CONTRACT_BAD_ROWS, MODEL, by=version)
    rows = per_second(catalogue.CONTRACT_ROWS, MODEL, by=version)
    return Row(
        title="Data contract",
        panels=(
            line("Rows that break it", f"{bad} / ({rows} > 0)", legend, "percentunit"),
            line(
                "Violations by rule",
                per_second(catalogue.VIOLATIONS, MODEL, by="model, input, rule, action"),
                "{{model}} {{input}} {{rule}} {{action}}",
                "rowsps",
            ),
            line(
                "Share of the window for each limit",
                value(catalogue.CONTRACT_RATE, MODEL, by=f"{version}, rule"),
                f"{legend} {{{{rule}}}}",
                "percentunit",
            ),
            line(
                "Limits that are passed",
                value(catalogue.CONTRACT_ALARM, MODEL, by=f"{version}, rule"),
                f"{legend} {{{{rule}}}}",
            ),
            line(
                "Missing values",
                per_second(catalogue.MISSING_VALUES, MODEL, by="model, input, kind"),
                "{{model}} {{input}} {{kind}}",
                "short",
            ),
            line(
                "Requests refused, answers withheld",
                f"{per_second(catalogue.CONTRACT_REJECTED, MODEL, by=version)} + "
                f"{per_second(catalogue.CONTRACT_WITHHELD, MODEL, by=version)}",
                legend,
                "reqps",
            ),
        ),
    )


def _drift() -> Row:
    """Show how far rows are from their references."""
    version = "model, version"
    feature = f"{version}, feature"
    legend = "{{model}}:{{version}}"
    score = value(catalogue.DRIFT_SCORE, MODEL, by=feature)
    effect = value(catalogue.DRIFT_EFFECT, MODEL, by=feature)
    rows = per_second(catalogue.DRIFT_ROWS, MODEL, by=version)
    skipped = per_second(catalogue.MONITOR_SKIPPED, MODEL, by=version)
    is_open = value(catalogue.DRIFT_OPEN, MODEL, by=f"{version}, severity")
    told = per_second(catalogue.DRIFT_ALARMS, MODEL, by=f"{version}, severity")
    age = f"time() - {value(catalogue.DRIFT_UPDATE, MODEL, by=version)}"
    failed = value(catalogue.DRIFT_FAILED, MODEL, by=version)
    return Row(
        title="Drift",
        panels=(
            line("Score", score, f"{legend} {{{{feature}}}}", about="1 is an alarm."),
            line("Effect", effect, f"{legend} {{{{feature}}}}"),
            line("Open alarms", is_open, f"{legend} {{{{severity}}}}"),
            line("Alarms that were told", told, f"{legend} {{{{severity}}}}"),
            line("Rows that were looked at", rows, legend, "rowsps"),
            line("Rows that were skipped", skipped, legend, "rowsps"),
            line("Since the newest row", age, legend, "s"),
            line("Cannot be watched", failed, legend, about="1: `bascule drift` says why."),
        ),
    )


def _ages() -> Row:
    """Show how old data is."""
    version = "model, version"
    legend = "{{model}}:{{version}}"
    return Row(
        title="Ages",
        panels=(
            line(
                "Since the end of the reference data",
                value(catalogue.REFERENCE_AGE, MODEL, by=version),
                legend,
                "s",
            ),
            line(
                "Since the end of the training data",
                value(catalogue.TRAINING_AGE, MODEL, by=version),
                legend,
                "s",
            ),
            line(
                "Age of the latest events",
                value(catalogue.EVENT_LAG, MODEL, by=version),
                legend,
                "s",
            ),
        ),
    )


def _labels() -> Row:
    """Show what labels say."""
    by = "model, version, output"
    legend = "{{model}}:{{version}} {{output}}"
    accuracy = value(label_catalogue.LABEL_ACCURACY, MODEL, by=by)
    error = value(label_catalogue.LABEL_ERROR, MODEL, by=by)
    drop = value(label_catalogue.LABEL_DROP_SCORE, MODEL, by=by)
    delay = value(label_catalogue.LABEL_DELAY, MODEL, by=by)
    labelled = value(label_catalogue.LABELLED_ROWS, MODEL, by=by)
    answered = value(label_catalogue.ANSWERED_ROWS, MODEL, by=by)
    return Row(
        title="Labels",
        panels=(
            line("Classified right", accuracy, legend, "percentunit"),
            line("Mean absolute error", error, legend),
            line("Evidence that it became worse", drop, legend, about="1 is the alarm."),
            line("Rows that have a label", f"{labelled} / {answered}", legend, "percentunit"),
            line("Until a label is known", delay, legend, "s"),
        ),
    )


def _log() -> Row:
    """Show what is logged."""
    version = "model, version"
    legend = "{{model}}:{{version}}"
    logged = per_second(catalogue.LOGGED, MODEL, by=version)
    logged_bytes = per_second(catalogue.LOGGED_BYTES, MODEL, by=version)
    return Row(
        title="Prediction log",
        panels=(
            line("Written", logged, legend, "recps"),
            line("Bytes", logged_bytes, legend, "Bps"),
            line(
                "Lost",
                per_second(catalogue.LOG_LOST, MODEL, by=f"{version}, reason"),
                f"{legend} {{{{reason}}}}",
                "reqps",
            ),
        ),
    )
