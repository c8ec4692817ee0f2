"""What is expected of versions before labels come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serving.monitor.labels.estimate import Estimate, estimate_of
from serving.predictions.labels.joining import ModelLabels


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionForecast:
    """What is expected of the rows of one version that have no label yet."""

    version: int
    output: str
    estimate: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelForecast:
    """What is expected of a model's versions."""

    model: str
    versions: tuple[VersionForecast, ...]
    is_cut: bool
    troubles: Mapping[str, str]
    unasked: str = ""
    """What could not be taken into account; empty: nothing."""


def forecast_of(
    found: ModelLabels, alarms: Mapping[int, Sequence[str]], unasked: str = ""
) -> ModelForecast:
    """Estimate each version.

    Args:
        found: What was joined.
        alarms: Version → what is wrong with its data now.
        unasked: What is not known of that.
    """
    return ModelForecast(
        model=found.model,
        versions=tuple(
            VersionForecast(
                version=each.key.version,
                output=each.output,
                estimate=estimate_of(each.rows, alarms.get(each.key.version, ())),
            )
            for each in found.joined
        ),
        is_cut=found.is_cut,
        troubles={str(key.version): why for key, why in found.troubles.items()},
        unasked=unasked,
    )
