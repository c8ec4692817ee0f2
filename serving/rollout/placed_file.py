"""Where versions were first placed: their environments, in a file that outlives the instance.

Equal environments are stored once. Blocking; for one caller at a time.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from serving.ids import VersionKey
from serving.registry.environment import Environment

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    model: str
    version: int
    digest: str
    environment: int
    """Its place in the list of environments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    environments: tuple[Environment, ...] = ()
    versions: tuple[_Placed, ...] = ()


@dataclass(frozen=True, slots=True)
class _First:
    digest: str
    environment: Environment


class PlacedFile:
    """The first environment of each version; a version with another digest begins anew."""

    def __init__(self, path: Path) -> None:
        """Read the file; one that is not there, or damaged, is an empty one."""
        self._path = path
        self._first: dict[VersionKey, _First] = {}
        self._is_saved = True
        content = self._read()
        for item in content.versions:
            if item.environment < len(content.environments):
                first = _First(item.digest, content.environments[item.environment])
                self._first[VersionKey(item.model, item.version)] = first

    def first(self, key: VersionKey, digest: str, now: Environment) -> Environment:
        """Return where a version was first placed: here and now, if that was not known."""
        known = self._first.get(key)
        if known is None or known.digest != digest:
            known = self._first[key] = _First(digest, now)
            self._is_saved = False
        return known.environment

    def known(self, key: VersionKey, digest: str) -> Environment | None:
        """Return what is kept of a version; None: nothing of this form of it."""
        known = self._first.get(key)
        return None if known is None or known.digest != digest else known.environment

    def put(self, key: VersionKey, digest: str, environment: Environment) -> None:
        """Keep another environment of a version."""
        self._first[key] = _First(digest, environment)
        self._is_saved = False

    def keep(self, keys: Collection[VersionKey]) -> None:
        """Forget all other versions."""
        for key in self._first.keys() - set(keys):
            del self._first[key]
            self._is_saved = False

    def save(self) -> None:
        """Write what is new; a reader sees the old file or the new one, nothing between.

        Raises:
            OSError: It cannot be written.
        """
        if self._is_saved:
            return
        environments: list[Environment] = []
        versions = []
        for key, first in self._first.items():
            if first.environment not in environments:
                environments.append(first.environment)
            versions.append(
                _Placed(
                    model=key.model,
                    version=key.version,
                    digest=first.digest,
                    environment=environments.index(first.environment),
                )
            )
        content = _Content(environments=tuple(environments), versions=tuple(versions))
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as stream:
            stream.write(msgspec.json.encode(content))
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(self._path)
        self._is_saved = True

    def _read(self) -> _Content:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Content)
        except FileNotFoundError:
            return _Content()
        except (OSError, UnicodeError, msgspec.DecodeError) as error:
            log.warning("placed_file_unreadable", file=str(self._path), error=str(error))
            return _Content()
