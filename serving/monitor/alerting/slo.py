"""What callers were promised (`slo.yaml`), and when to say that it is not kept.

::

    job: bascule              # as Prometheus' scrape configuration names the instance
    availability: 0.999       # share of calls that do not fail by the server's fault
    latency:
      threshold_s: 0.25       # one of the edges of the histograms' buckets
      target: 0.99            # share of answered calls that are faster
    models:
      fraud:
        latency: {threshold_s: 0.05, target: 0.995}
"""

from typing import Annotated, Final

import msgspec

from runtimes.errors import InvalidArgumentError
from serving.monitor.stages import EDGES_S
from serving.registry.yaml_text import read_yaml

Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:/-]{1,200}$")]


class LatencySlo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many of the answered calls are how fast."""

    threshold_s: Positive = 0.25
    target: Share = 0.99


class ModelSlo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What differs for one model; what is left out is as for all."""

    availability: Share | None = None
    latency: LatencySlo | None = None


class Slo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that the rules are made of."""

    job: Name = "bascule"
    """The scrape job of the instance's nodes."""
    availability: Share = 0.999
    latency: LatencySlo = LatencySlo()
    models: dict[Name, ModelSlo] = {}
    min_calls_per_s: Positive = 0.1
    """With fewer calls a burn rate says nothing: nobody is woken."""
    max_queued_calls: Positive = 100
    """Of a model: more that wait, and become more, are told."""
    max_reference_age_days: Positive = 180
    max_training_age_days: Positive = 365
    monitor_interval_s: Positive = 5
    """How often drift monitors publish what they know."""


DEFAULT: Final = Slo()
MAX_SLO_BYTES: Final = 1 << 20


def read_slo(text: str) -> Slo:
    """Read the text of `slo.yaml`.

    Raises:
        InvalidArgumentError: It is none.
    """
    try:
        slo = msgspec.convert(read_yaml(text.encode()) or {}, Slo)
    except (InvalidArgumentError, msgspec.ValidationError) as error:
        raise InvalidArgumentError(f"the SLO file cannot be used: {error}") from error
    _check_threshold("latency", slo.latency)
    for model, own in slo.models.items():
        if own.latency is not None:
            _check_threshold(f"models.{model}.latency", own.latency)
    return slo


def availability_of(slo: Slo, model: str) -> float:
    """Return the share of a model's calls that must not fail."""
    own = slo.models.get(model, ModelSlo()).availability
    return slo.availability if own is None else own


def latency_of(slo: Slo, model: str) -> LatencySlo:
    """Return how fast a model's calls have to be."""
    return slo.models.get(model, ModelSlo()).latency or slo.latency


def _check_threshold(where: str, latency: LatencySlo) -> None:
    if latency.threshold_s in EDGES_S:
        return
    near = sorted(EDGES_S, key=lambda edge: abs(edge - latency.threshold_s))[:2]
    choices = " or ".join(f"{edge:g}" for edge in sorted(near))
    raise InvalidArgumentError(
        f"{where}.threshold_s is {latency.threshold_s:g} s, which no bucket of the histograms ends "
        f"at, so nobody can count the calls that are faster: choose {choices}"
    )
