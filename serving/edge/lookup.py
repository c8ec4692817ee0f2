"""Pure: finds the version that a question is about, and what metadata says of it.

The texts and codes are those of infer (`serving.wire.refusals`), so a client reads the same about a
model whatever it asks.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from runtimes.contract import TensorSpec
from runtimes.errors import InvalidArgumentError
from serving.edge.control import Snapshot, VersionRecord
from serving.errors import NotFoundError, NotReadyError
from serving.ids import MAX_VERSION, VersionKey
from serving.monitor.statistics import VersionStatistics
from serving.registry.version import ServedVersion, VersionState
from serving.wire import refusals

MAX_VERSION_DIGITS: Final = len(str(MAX_VERSION))
NAMED_COUNT: Final = 3
"""So many versions are named to whoever asks whether the server is ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyVersion:
    """A version that answers, with what its workers say of it."""

    model: str
    version: int
    config_text: str
    served: ServedVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """Model metadata."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """A line of the repository index; without a version for a model that was never loaded."""

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


def asked_version(text: str) -> int | None:
    """Read the version of a gRPC message; None where it names none.

    Raises:
        InvalidArgumentError: It is no positive integer.
    """
    if not text:
        return None
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidArgumentError(refusals.unparsable_version(text))
    if text.startswith("-") or not digits.strip("0"):
        raise InvalidArgumentError(refusals.version_below_one(text))
    return path_version(digits)


def path_version(digits: str) -> int:
    """Read a path's version segment, which is decimal digits; too long a one names nothing."""
    stripped = digits.lstrip("0")
    return int(stripped or "0") if len(stripped) <= MAX_VERSION_DIGITS else MAX_VERSION + 1


def ready_version(snapshot: Snapshot, model: str, version: int | None) -> ReadyVersion:
    """Find the version that would answer.

    Args:
        snapshot: What the cluster is.
        model: Its name.
        version: None for the model's live version.

    Raises:
        NotFoundError: There is no such model or version, or nothing of the model is ready.
        NotReadyError: The version cannot answer now.
    """
    live = snapshot.routes.live.get(model)
    if live is None and not any(key.model == model for key in snapshot.versions):
        raise NotFoundError(refusals.unknown_model(model))
    chosen = version if version is not None else (live.version if live is not None else None)
    if chosen is None:
        raise NotFoundError(refusals.nothing_available(model))
    record = snapshot.versions.get(VersionKey(model, chosen))
    if record is None:
        raise NotFoundError(refusals.missing_version(model, str(chosen)))
    if record.state is not VersionState.READY or record.served is None:
        raise NotReadyError(refusals.version_not_ready(model, str(chosen)))
    return ReadyVersion(
        model=model, version=chosen, config_text=record.config_text, served=record.served
    )


def model_facts(snapshot: Snapshot, model: str, version: int | None) -> ModelFacts:
    """Return a model's metadata: every READY version, or only the one that was asked for.

    Raises:
        NotFoundError: There is no such model or version, or nothing of the model is ready.
        NotReadyError: The version cannot answer now.
    """
    found = ready_version(snapshot, model, version)
    versions = [version] if version is not None else ready_versions(snapshot, model)
    return ModelFacts(
        name=model,
        versions=tuple(str(number) for number in versions),
        platform=found.served.platform,
        inputs=found.served.inputs,
        outputs=found.served.outputs,
    )


def ready_versions(snapshot: Snapshot, model: str) -> list[int]:
    """Return a model's READY versions, ascending."""
    return sorted(
        key.version
        for key, record in snapshot.versions.items()
        if key.model == model and record.state is VersionState.READY
    )


def not_ready_text(snapshot: Snapshot) -> str:
    """Say that the server is not ready, and which wanted versions it waits for: a few by name."""
    named = [_waited_for(snapshot, key) for key in snapshot.waited_for[:NAMED_COUNT]]
    more_count = len(snapshot.waited_for) - len(named)
    more = [f"and {more_count} more"] if more_count else []
    return f"server not ready{': ' if named else ''}{', '.join([*named, *more])}"


def _waited_for(snapshot: Snapshot, key: VersionKey) -> str:
    record = snapshot.versions.get(key)
    state = VersionState.LOADING if record is None else record.state
    name = str(key) if key.version else key.model  # a model of which no version can be found
    is_former = state is VersionState.READY
    return f"{name} is {'served in its former form only' if is_former else state.value}"


def index_entries(snapshot: Snapshot, *, only_ready: bool) -> list[IndexEntry]:
    """List every model of the repository and registry, loaded or not."""
    entries = [
        _entry(record)
        for record in snapshot.versions.values()
        if record.state is VersionState.READY or not only_ready
    ]
    named = {key.model for key in snapshot.versions}
    if not only_ready:
        entries.extend(IndexEntry(name=model) for model in snapshot.known_models - named)
    return sorted(entries, key=lambda entry: (entry.name, len(entry.version), entry.version))


def measured_versions(snapshot: Snapshot, model: str, version: int | None) -> list[VersionKey]:
    """List the READY versions that statistics are asked of; every one for an empty name.

    Raises:
        InvalidArgumentError: None is ready (Triton's choice of a code).
    """
    ready = [
        key
        for key, record in snapshot.versions.items()
        if record.state is VersionState.READY and model in ("", key.model)
    ]
    if model and not ready:
        raise InvalidArgumentError(refusals.nothing_measured(model, has_others=False))
    if model and version is not None:
        ready = [key for key in ready if key.version == version]
        if not ready:
            raise InvalidArgumentError(refusals.nothing_measured(model, has_others=True))
    return sorted(ready)


def counted_of(
    items: Iterable[VersionStatistics], keys: Iterable[VersionKey]
) -> list[VersionStatistics]:
    """Return the counters of some versions, in their order."""
    asked = frozenset(keys)  # once: both may have thousands
    return [item for item in items if item.key in asked]


def _entry(record: VersionRecord) -> IndexEntry:
    return IndexEntry(
        name=record.model,
        version=str(record.version),
        state=record.state.value,
        reason=record.reason,
    )
