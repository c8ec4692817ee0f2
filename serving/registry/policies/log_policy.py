"""What is kept of a model's predictions, as its configuration wants it.

In `config.pbtxt`, among the parameters::

    parameters { key: "prediction_log_rate"   value { string_value: "0.1" } }
    parameters { key: "prediction_log_inputs" value { string_value: "hash" } }
    parameters { key: "prediction_log_redact" value { string_value: "name,address" } }

Parameters of requests are kept where inputs are kept full; redacting leaves them out by name. Steps
of an ensemble are logged by their own models only where the ensemble's log keeps everything.

Nothing is kept unless the server has a place for it (`BASCULE_PREDICTION_LOG`); the server's own
rate and inputs hold for models that say nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from runtimes.errors import InvalidArgumentError

KeptInputs = Literal["full", "hash", "none"]
RATE: Final = "prediction_log_rate"
INPUTS: Final = "prediction_log_inputs"
REDACT: Final = "prediction_log_redact"
PARAMETERS: Final = frozenset({RATE, INPUTS, REDACT})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPolicy:
    """What a model's configuration says of its prediction log."""

    rate: float | None = None
    """Share of its calls that is kept, from 0 to 1; None: as the server says."""
    inputs: KeptInputs | None = None
    """The bytes of inputs, their sha256, or neither; None: as the server says."""
    redacted: tuple[str, ...] = ()
    """Tensors of which neither bytes nor sha256 are kept, inputs or outputs, and parameters of
    requests."""

    @property
    def is_whole(self) -> bool:
        """Whether something is kept, and then everything of it, where the server's word is in."""
        return bool(self.rate) and self.inputs in {None, "full"} and not self.redacted


UNSAID: Final = LogPolicy()


def log_policy(given: Mapping[str, str]) -> LogPolicy:
    """Read a configuration's parameters.

    Args:
        given: Its parameters, as texts.

    Raises:
        InvalidArgumentError: A value is none of those that exist.
    """
    return LogPolicy(
        rate=share_of(given[RATE]) if RATE in given else None,
        inputs=_inputs(given[INPUTS]) if INPUTS in given else None,
        redacted=tuple(name.strip() for name in given.get(REDACT, "").split(",") if name.strip()),
    )


def share_of(text: str) -> float:
    """Read a share.

    Raises:
        InvalidArgumentError: It is no number from 0 to 1.
    """
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise InvalidArgumentError(
            f"parameters: {RATE} is '{text[:40]}': a share from 0 (none) to 1 (all) is expected"
        )
    return share


def _inputs(text: str) -> KeptInputs:
    if text not in get_args(KeptInputs):
        raise InvalidArgumentError(
            f"parameters: {INPUTS} is '{text[:40]}': write full, hash or none"
        )
    return cast("KeptInputs", text)
