"""What a worker is told of watching for drift, and where learnt references lie."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec

from runtimes.errors import InvalidArgumentError
from serving.registry.version import VersionSpec

DIGEST_LETTERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftOrder:
    """How much is watched, and what is done where there is no reference."""

    rows_per_s: float
    """Rows of each version, at most."""
    folder: str
    """Where references are kept that were learnt from traffic; all nodes share it."""
    learn_rows: int = 0
    """How many rows a reference is learnt from where a model's configuration does not say it; 0: it
    is not learnt."""

    def rows_to_learn(self, spec: VersionSpec) -> int:
        """Return how many rows a version learns its reference from; 0: it does not."""
        if spec.reference or not spec.policy.drift.is_on:
            return 0
        said = spec.policy.drift.learn_rows
        return self.learn_rows if said is None else said

    def is_watched(self, spec: VersionSpec) -> bool:
        """Say whether a version's rows are watched."""
        return spec.policy.drift.is_on and bool(spec.reference or self.rows_to_learn(spec))

    def reference_of(self, spec: VersionSpec) -> Path | None:
        """Return a version's reference; None: it was not learnt yet."""
        if spec.reference:
            return Path(spec.reference)
        learnt = self.learnt_file(spec)
        return learnt if learnt.exists() else None

    def learnt_file(self, spec: VersionSpec) -> Path:
        """Return where the reference is kept that a version learns."""
        name = f"{quote(spec.model, safe='')}-{spec.version}-{spec.digest[:DIGEST_LETTERS]}.drift"
        return Path(self.folder) / name


def encode_order(order: DriftOrder) -> str:
    """Write an order for a command line."""
    return msgspec.json.encode(order).decode()


def decode_order(text: str) -> DriftOrder:
    """Read an order.

    Raises:
        InvalidArgumentError: It is none.
    """
    try:
        return msgspec.json.decode(text, type=DriftOrder)
    except msgspec.DecodeError as error:
        raise InvalidArgumentError(f"invalid DriftOrder: {error}") from error
