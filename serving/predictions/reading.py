"""Reads the prediction log: one record by its id, or those that a filter lets through.

Segments that are being written are read as far as they are whole. An id says when it was made, so
only segments of that time are opened. A record that is whole and cannot be understood hides no
other: it is counted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any, Final

import fsspec

from runtimes.errors import InvalidArgumentError, UnsupportedError
from serving.errors import NotReadyError
from serving.predictions.folder import created_ms
from serving.predictions.ids import made_ms
from serving.predictions.record import Prediction, read_predictions
from serving.settings import without_password

SLACK_MS: Final = 60_000
"""By so much clocks of nodes may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment, wherever it lies."""

    name: str
    place: str
    created_ms: int
    changed_ms: int
    """When it was last written; 0: its store does not say."""

    @property
    def time_ms(self) -> tuple[float, float]:
        """Between which moments its predictions were made, as far as clocks of nodes agree."""
        end_ms = self.changed_ms + SLACK_MS if self.changed_ms else inf
        return self.created_ms - SLACK_MS, end_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which records are wanted."""

    model: str = ""
    version: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, prediction: Prediction) -> bool:
        """Tell whether a record is wanted."""
        spec = prediction.source.spec
        at = answered_at(prediction)
        return (
            (not self.model or spec.model == self.model)
            and (self.version is None or spec.version == self.version)
            and (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A record, and those of the calls that ran in the same batch, in their order."""

    prediction: Prediction
    company: tuple[Prediction, ...]
    """The record itself is among them."""

    @property
    def is_whole(self) -> bool:
        """Whether every call of the batch is in the log."""
        return len(self.company) == self.prediction.head.batch.calls


class PredictionReader:
    """The log of an instance: the folder of its segments, and the place where they are moved."""

    def __init__(self, *places: str) -> None:
        """Read these places: folders or fsspec URLs; one that does not exist holds nothing."""
        self.places = tuple(place for place in places if place)
        self.left_out: dict[str, str] = {}
        """Segment → how many of its records cannot be understood, and why the first of them."""

    def read(self, name: str, content: bytes) -> Iterator[Prediction]:
        """Yield what can be understood of a segment; `left_out` says what cannot."""
        faults: list[str] = []
        yield from read_predictions(content, name, faults)
        self.left_out.pop(name, None)
        if faults:
            self.left_out[name] = f"{len(faults)} records left out: {faults[0]}"

    def find(self, prediction_id: str) -> Found | None:
        """Return a record by its id; None: it is not there.

        Raises:
            InvalidArgumentError: It is no id, or a segment cannot be read.
        """
        at_ms = made_ms(prediction_id)
        needle = prediction_id.lower().encode("ascii")
        for segment in self.segments():
            is_before = segment.created_ms > at_ms + SLACK_MS
            if is_before or 0 < segment.changed_ms < at_ms - SLACK_MS:
                continue
            content = content_of(segment)
            if needle not in content:
                continue
            records = list(self.read(segment.name, content))
            for record in records:
                if record.head.id == needle.decode():
                    return Found(prediction=record, company=_company(record, records))
        return None

    def with_company(self, wanted: Filter) -> Iterator[Found]:
        """Yield the wanted records, the oldest first, each with those of its batch."""
        for segment in self.segments():
            if not _may_have(segment, wanted):
                continue
            batches: dict[tuple[int, int], list[Prediction]] = {}
            records = list(self.read(segment.name, content_of(segment)))
            for record in records:
                batches.setdefault(_batch_of(record), []).append(record)
            for record in filter(wanted.takes, records):
                has_company = record.head.batch.number > 0
                company = batches[_batch_of(record)] if has_company else [record]
                yield Found(prediction=record, company=tuple(company))

    def newest(self, wanted: Filter) -> Iterator[Prediction]:
        """Yield the wanted records, segment by segment, the newest first."""
        for segment in reversed(self.segments()):
            if _may_have(segment, wanted):
                found = list(self.read(segment.name, content_of(segment)))
                yield from (record for record in reversed(found) if wanted.takes(record))

    def oldest(self, wanted: Filter) -> Iterator[Prediction]:
        """Yield the wanted records, segment by segment, the oldest first."""
        for segment in self.segments():
            if _may_have(segment, wanted):
                found = self.read(segment.name, content_of(segment))
                yield from (record for record in found if wanted.takes(record))

    def segments_of(self, wanted: Filter) -> list[Segment]:
        """Return the segments that may have wanted records, in order of time; see `segments`."""
        return [segment for segment in self.segments() if _may_have(segment, wanted)]

    def segments(self) -> list[Segment]:
        """Return all segments, in order of time.

        Raises:
            InvalidArgumentError: A place is no URL.
            UnsupportedError: Nothing installed here can read such a URL.
            NotReadyError: A store does not answer.
        """
        # One that was finished and moved while this listed both places is in both, by two names.
        found = {Path(each.name).stem: each for place in self.places for each in _segments(place)}
        return sorted(found.values(), key=lambda each: each.name)


def answered_at(prediction: Prediction) -> datetime:
    """Return when a prediction was answered."""
    return datetime.fromtimestamp(prediction.head.time_ns / 1e9, UTC)


def _may_have(segment: Segment, wanted: Filter) -> bool:
    since, until = wanted.since, wanted.until
    if until is not None and segment.created_ms > until.timestamp() * 1e3 + SLACK_MS:
        return False
    is_dated = since is not None and segment.changed_ms > 0
    return not (since and is_dated and segment.changed_ms < since.timestamp() * 1e3 - SLACK_MS)


def _company(record: Prediction, records: list[Prediction]) -> tuple[Prediction, ...]:
    if not record.head.batch.number:
        return (record,)
    return tuple(other for other in records if _batch_of(other) == _batch_of(record))


def _batch_of(record: Prediction) -> tuple[int, int]:
    return record.head.source, record.head.batch.number


def _segments(place: str) -> Iterator[Segment]:
    if "://" not in place:
        yield from _local_segments(Path(place))
        return
    for item in _listed(place):
        name = Path(item["name"]).name
        if created_ms(name):
            yield Segment(
                name=name,
                place=f"{place}/{name}",
                created_ms=created_ms(name),
                changed_ms=_changed_ms(item),
            )


def _changed_ms(item: Mapping[str, Any]) -> int:
    """Return when a store says that it has written an object, which is after its last record."""
    said = item.get("LastModified", item.get("last_modified", item.get("mtime")))
    seconds = said.timestamp() if isinstance(said, datetime) else said
    return int(seconds * 1e3) if isinstance(seconds, (int, float)) else 0


def _listed(url: str) -> Sequence[Mapping[str, Any]]:
    shown = f"prediction log {without_password(url)}"
    try:
        store, root = fsspec.core.url_to_fs(url)
        store.invalidate_cache(root)  # or what others have moved there since is not seen
        return list(store.ls(root, detail=True))
    except FileNotFoundError:
        return ()
    except ImportError as error:
        raise UnsupportedError(f"{shown}: {error}; install the package that it names") from error
    except ValueError as error:
        raise InvalidArgumentError(f"{shown}: {error}") from error
    except Exception as error:  # stores raise what they like
        told = str(error) or type(error).__name__
        raise NotReadyError(f"{shown} cannot be reached: {told}") from error


def _local_segments(folder: Path) -> Iterator[Segment]:
    for path in folder.glob("*-*"):
        if not created_ms(path.name):
            continue
        try:
            changed_ms = int(path.stat().st_mtime * 1e3)
        except FileNotFoundError:  # it was finished or let go meanwhile
            continue
        yield Segment(
            name=path.name,
            place=str(path),
            created_ms=created_ms(path.name),
            changed_ms=changed_ms,
        )


def content_of(segment: Segment) -> bytes:
    """Read a segment; one that was finished since it was listed has its other name now.

    Raises:
        InvalidArgumentError: It cannot be read.
    """
    try:
        return bytes_at(segment.place)
    except FileNotFoundError:
        other = segment.place.removesuffix(".open") + ".seg"
        try:
            return bytes_at(other)
        except FileNotFoundError:
            return b""
    except Exception as error:  # stores raise what they like
        told = (isinstance(error, OSError) and error.strerror) or str(error)
        raise InvalidArgumentError(
            f"prediction log: {without_password(segment.place)} cannot be read: {told}"
        ) from error


def bytes_at(place: str) -> bytes:
    """Read a file, or what lies at an fsspec URL, as it is now: stores keep listings with sizes.

    Raises:
        OSError: It cannot be read. Stores of fsspec raise others as well.
    """
    if "://" not in place:
        return Path(place).read_bytes()
    store, path = fsspec.core.url_to_fs(place)
    content: bytes = store.cat_file(path)
    return content
