"""How many workers a model has, by how much it is called, as its configuration wants it.

In `config.pbtxt`, among the parameters::

    parameters { key: "min_replicas"       value { string_value: "0" } }
    parameters { key: "max_replicas"       value { string_value: "4" } }
    parameters { key: "scale_target_calls" value { string_value: "4" } }
    parameters { key: "scale_target_busy"  value { string_value: "0.75" } }
    parameters { key: "scale_slo_p99_ms"   value { string_value: "50" } }
    parameters { key: "scale_down_delay"   value { string_value: "60s" } }
    parameters { key: "idle_to_zero"       value { string_value: "5m" } }

A model that names neither `min_replicas` nor `max_replicas` has the number of workers that its
`instance_group` says, always. One that names either stays between the two; what it leaves out of
them is that number. With a minimum of 0 it has no worker once nobody has called it for
`idle_to_zero`: the next call waits while one starts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from runtimes.errors import InvalidArgumentError
from serving.registry.policies.time_span import span_s

MIN: Final = "min_replicas"
MAX: Final = "max_replicas"
TARGET_CALLS: Final = "scale_target_calls"
TARGET_BUSY: Final = "scale_target_busy"
SLO: Final = "scale_slo_p99_ms"
DOWN_DELAY: Final = "scale_down_delay"
IDLE: Final = "idle_to_zero"
DETAILS: Final = (TARGET_CALLS, TARGET_BUSY, SLO, DOWN_DELAY, IDLE)
PARAMETERS: Final = frozenset({MIN, MAX, *DETAILS})
MAX_REPLICAS: Final = 256
MAX_TARGET_CALLS: Final = 100_000
MAX_SLO_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingPolicy:
    """What a configuration says."""

    min_replicas: int = 1
    """0: it may have no worker while nobody calls it."""
    max_replicas: int = 1
    target_calls: float = 4.0
    """More calls than so many a worker, waiting or running, ask for another one."""
    target_busy: float = 0.75
    """And so does a larger share of the time in which workers run batches."""
    slo_p99_s: float = 0.0
    """And calls that come near this limit; 0: there is none."""
    down_delay_s: float = 60.0
    """Workers leave when fewer were enough for so long."""
    idle_to_zero_s: float = 300.0
    """The last one leaves when nobody has called for so long."""


def scaling_policy(given: Mapping[str, str], replica_count: int) -> ScalingPolicy | None:
    """Read a configuration's parameters; None: the number of workers is fixed.

    Args:
        given: Its parameters, as texts.
        replica_count: What its `instance_group` says.

    Raises:
        InvalidArgumentError: A value is none of those that exist, or contradicts another.
    """
    if MIN not in given and MAX not in given:
        alone = [name for name in DETAILS if name in given]
        if alone:
            raise InvalidArgumentError(
                f"parameters: {alone[0]} means nothing without {MIN} or {MAX}: say between how "
                "many workers the model may have"
            )
        return None
    least = int(_number(given, MIN, 0, MAX_REPLICAS, replica_count, whole=True))
    most = int(_number(given, MAX, 1, MAX_REPLICAS, max(replica_count, least, 1), whole=True))
    if least > most:
        raise InvalidArgumentError(
            f"parameters: {MIN} is {least} and {MAX} {most}: the minimum is the larger one"
        )
    plain = ScalingPolicy()
    return ScalingPolicy(
        min_replicas=least,
        max_replicas=most,
        target_calls=_number(given, TARGET_CALLS, 0.1, MAX_TARGET_CALLS, plain.target_calls),
        target_busy=_number(given, TARGET_BUSY, 0.05, 1, plain.target_busy),
        slo_p99_s=_number(given, SLO, 0, MAX_SLO_MS, 0) / 1e3,
        down_delay_s=span_s(given.get(DOWN_DELAY, f"{plain.down_delay_s:g}s"), DOWN_DELAY),
        idle_to_zero_s=span_s(given.get(IDLE, f"{plain.idle_to_zero_s:g}s"), IDLE),
    )


def _number(
    given: Mapping[str, str],
    name: str,
    least: float,
    most: float,
    default: float,
    *,
    whole: bool = False,
) -> float:
    text = given.get(name)
    if text is None:
        return default
    digits = text.strip()
    is_number = digits.isascii() and digits.replace(".", "", 0 if whole else 1).isdecimal()
    value = float(digits) if is_number and len(digits) < 10 else -1.0  # noqa: PLR2004  no overflow
    if not least <= value <= most:
        kind = "a whole number" if whole else "a number"
        raise InvalidArgumentError(
            f"parameters: {name} is '{text[:40]}': {kind} from {least:g} to {most:g} is expected"
        )
    return value
