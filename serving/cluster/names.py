"""What the Serve applications of an instance are called, and what their makers are told. No Ray."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from serving.settings import Settings

CONTROLLER_APP: Final = "bascule-controller"
EDGE_APP: Final = "bascule-edge"
POOL_PREFIX: Final = "bascule-pool-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """What every actor of an instance is built with; the environment is not asked."""

    settings: Settings
    instance: str
    """The mark of all processes of this instance (`BASCULE_INSTANCE`)."""
    owns_cluster: bool
    """Whether the whole Ray cluster was started for this instance, or has other users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What `serving.cluster.deploy` is told on its standard input."""

    instance: Instance
    address: str
    """The cluster's GCS, `host:port`."""


def encode_errand(errand: Errand) -> bytes:
    """Write an errand as JSON."""
    return msgspec.json.encode(errand, enc_hook=str)


def decode_errand(text: bytes) -> Errand:
    """Read an errand as JSON."""
    return msgspec.json.decode(text, type=Errand, dec_hook=lambda _, value: Path(value))


def ending_mark(settings: Settings) -> Path:
    """Exists while the whole instance ends: then no replica need take leave of the edges."""
    return settings.run_dir / "ending"


def pool_app_name(pool: str) -> str:
    """The Serve application of a pool."""
    return POOL_PREFIX + pool


def is_ours(application: str) -> bool:
    """Whether a Serve application is one of Bascule's."""
    return application in {CONTROLLER_APP, EDGE_APP} or application.startswith(POOL_PREFIX)
