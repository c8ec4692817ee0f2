"""The alarms of all versions, in a file that outlives the controller. Blocking; for one caller."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import structlog

from serving.ids import VersionKey
from serving.monitor.drift.view import DriftAlarm

MAX_VERSIONS: Final = 1_000
"""So many versions that nothing is new of are kept, the latest ones."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAlarms:
    """What is kept of one version."""

    model: str
    version: int
    monitor_digest: str
    """Alarms of another reference are no longer of interest."""
    alarms: tuple[DriftAlarm, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)


class AlarmFile:
    """Reads once, and writes what is new."""

    def __init__(self, path: Path) -> None:
        """Read the file; one that is not there, or damaged, is an empty one."""
        self._path = path
        self._kept = {VersionKey(one.model, one.version): one for one in self._read()}

    def of(self, key: VersionKey, monitor_digest: str) -> KeptAlarms:
        """Return what is kept of a version, as long as its reference is the same."""
        kept = self._kept.get(key)
        if kept is not None and kept.monitor_digest == monitor_digest:
            return kept
        return KeptAlarms(model=key.model, version=key.version, monitor_digest=monitor_digest)

    def save(self, kept: Mapping[VersionKey, KeptAlarms]) -> None:
        """Write what is known now, over what was known before of the same versions.

        Raises:
            OSError: It cannot be written.
        """
        known = [(key, one) for key, one in self._kept.items() if key not in kept]
        self._kept = {**dict(known[-MAX_VERSIONS:]), **kept}
        fresh = self._path.with_suffix(".new")
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh.write_bytes(msgspec.json.encode(tuple(self._kept.values())))
        fresh.replace(self._path)

    def _read(self) -> tuple[KeptAlarms, ...]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=tuple[KeptAlarms, ...])
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeError, msgspec.MsgspecError) as error:
            log.warning("drift_alarms_not_read", file=str(self._path), error=str(error))
            return ()
