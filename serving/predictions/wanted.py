"""From the settings to what workers are told of the prediction log, and where readers find it."""

from pathlib import Path

from serving.predictions.order import LogOrder, encode_order
from serving.settings import Settings, whole_path


def log_order(settings: Settings) -> LogOrder | None:
    """Return what the settings say; None: no prediction is logged.

    Raises:
        InvalidArgumentError: The folder is in the home of a user who is not known here.
    """
    place = settings.prediction_log
    if not place:
        return None
    is_url = "://" in place and not place.startswith("file://")
    folder = settings.home / "predictions" if is_url else Path(place.removeprefix("file://"))
    return LogOrder(
        folder=str(whole_path(folder, "BASCULE_PREDICTION_LOG")),
        url=place if is_url else "",
        rate=settings.prediction_log_rate,
        inputs=settings.prediction_log_inputs,
        max_bytes=settings.prediction_log_bytes,
        retention_s=settings.prediction_log_retention_s,
        label_bytes=settings.label_bytes,
    )


def log_arguments(settings: Settings) -> tuple[str, ...]:
    """Return what a worker's command line says of the log; nothing where there is none."""
    order = log_order(settings)
    return () if order is None else (f"--prediction-log={encode_order(order)}",)
