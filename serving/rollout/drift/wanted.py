"""From the settings to what workers are told of watching for drift."""

from serving.monitor.drift_order import DriftOrder, encode_order
from serving.settings import Settings


def drift_order(settings: Settings) -> DriftOrder | None:
    """Return what the settings say; None: nothing is watched."""
    if not settings.drift_rows_per_s:
        return None
    return DriftOrder(
        rows_per_s=settings.drift_rows_per_s,
        folder=str(settings.home / "drift"),
        learn_rows=settings.drift_learn_rows,
    )


def drift_arguments(settings: Settings) -> tuple[str, ...]:
    """Return what a worker's command line says of it; nothing where nothing is watched."""
    order = drift_order(settings)
    return () if order is None else (f"--drift={encode_order(order)}",)
