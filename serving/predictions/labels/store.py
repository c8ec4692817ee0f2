"""Keeps posted labels: segments beside the prediction log, in its folder `labels`.

Not in the registry's database: labels are as many as predictions and are read with them, each
node's edge takes them without the controller, and one lock for all changes would have every post
wait for every other. A post is answered when it is on the disk. Blocks; its methods may be called
by any thread. Where the log is moved to a URL, labels are moved there, too.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
import structlog

from runtimes.errors import InvalidArgumentError
from serving.errors import NotReadyError, PayloadTooLargeError
from serving.predictions.folder import Bounds, SegmentFolder
from serving.predictions.labels.entries import Cell
from serving.predictions.labels.reviews import Review
from serving.predictions.labels.table import LabelBatch
from serving.predictions.order import LogOrder
from serving.predictions.reading import PredictionReader, Segment, content_of
from serving.predictions.segment import Frame, encode_frame, read_frames
from serving.predictions.writing import RecordTooLargeError, SegmentWriter
from serving.wire.tensors import Buffer

if TYPE_CHECKING:
    from serving.predictions.moving import Mover

FOLDER: Final = "labels"
LABELS: Final = 16
REVIEW: Final = 17
CELLS_OF_FRAME: Final = 500
SEGMENTS_OF_ROOM: Final = 16
SEAL_S: Final = 3600.0
SEAL_FOR_MOVING_S: Final = 30.0
_SOURCE: Final = 0
T = TypeVar("T")

log = structlog.get_logger(__name__)


class LabelStore:
    """What one node's edge writes."""

    def __init__(self, order: LogOrder, stem: str, unix_ns: Callable[[], int]) -> None:
        """Write nothing yet.

        Args:
            order: The prediction log's: where, and how long.
            stem: What names this process in the names of segments.
            unix_ns: Nanoseconds since 1970.
        """
        bounds = Bounds(
            max_bytes=order.label_bytes,
            segment_bytes=order.label_bytes // SEGMENTS_OF_ROOM,
            retention_s=order.retention_s,
        )
        self._folder = SegmentFolder(Path(order.folder) / FOLDER, bounds)
        seal_s = SEAL_FOR_MOVING_S if order.url else SEAL_S
        self._writer = SegmentWriter(self._folder, stem, seal_s=seal_s, now_ns=unix_ns)
        self._writer.put_source(_SOURCE, [])
        self._unix_ns = unix_ns
        self._url = f"{order.url}/{FOLDER}" if order.url else ""
        self._lock = threading.Lock()
        self._mover: Mover | None = None
        self._newest_ns = 0
        self.posted_count = 0
        """Labels that were kept since this process began."""

    def add(self, model: str, version: int | None, cells: Sequence[Cell]) -> None:
        """Keep labels; they are on the disk when this returns.

        Raises:
            NotReadyError: They cannot be written: none, or the first of them, was kept.
        """
        with self._lock:
            posted_ns = max(self._unix_ns(), self._newest_ns + 1)
            self._newest_ns = posted_ns + len(cells)
            batches = (
                LabelBatch(model, version, posted_ns + at, tuple(cells[at : at + CELLS_OF_FRAME]))
                for at in range(0, len(cells), CELLS_OF_FRAME)
            )
            self._write((LABELS, batch) for batch in batches)
            self.posted_count += len(cells)

    def add_review(self, review: Review) -> None:
        """Keep what somebody decided about a suspect; it is on the disk when this returns.

        Raises:
            NotReadyError: It cannot be written.
        """
        with self._lock:
            self._write([(REVIEW, review)])

    def tend(self) -> None:
        """Finish what is old, let go what is too old or too much, and move what is to be moved."""
        with self._lock:
            self._writer.seal_if_old()
            self._folder.keep_bounds(self._unix_ns() // 1_000_000)
            self._tell_removed()
        self._move()

    def close(self) -> None:
        """Finish the segment, and move it."""
        with self._lock:
            self._writer.seal()
        self._move()

    def _write(self, records: Iterable[tuple[int, LabelBatch | Review]]) -> None:
        try:
            for kind, record in records:
                self._writer.write(_SOURCE, encode_frame(kind, msgspec.json.encode(record)))
            self._writer.sync()
        except RecordTooLargeError:
            raise PayloadTooLargeError(
                "labels of so many long texts do not fit a segment of their place: post fewer at "
                "once, or raise BASCULE_LABEL_BYTES"
            ) from None
        except OSError as error:
            raise NotReadyError(
                f"labels cannot be written ({error.strerror or error}): post them again; what was "
                "kept before does not count twice"
            ) from error
        self._tell_removed()

    def _tell_removed(self) -> None:
        for removed in self._folder.take_removed():
            log.warning(
                "labels_made_room",
                segment=removed.name,
                labels=sum(len(batch.cells) for batch in read_batches(removed.content)),
                max_bytes=self._folder.bounds.max_bytes,
                hint="raise BASCULE_LABEL_BYTES",
            )

    def _move(self) -> None:
        if not self._url or not self._folder.path.is_dir():
            return
        if self._mover is None:
            from serving.predictions.moving import Mover  # noqa: PLC0415  fsspec, if it is needed

            self._mover = Mover(self._folder.path, self._url, self._folder.bounds)
        self._mover.move(self._unix_ns() // 1_000_000)


class LabelReader:
    """Reads what all nodes' edges have kept."""

    def __init__(self, *places: str) -> None:
        """Read the labels beside these logs: folders or fsspec URLs."""
        self._reader = PredictionReader(*(f"{place}/{FOLDER}" for place in places if place))

    def batches(self, model: str) -> Iterator[LabelBatch]:
        """Yield the labels of a model, in the order of their posts on each node.

        Raises:
            InvalidArgumentError: A segment cannot be read.
        """
        for frame in self._frames(LABELS):
            if _read(frame.head, _Named).model == model:
                yield _read(frame.head, LabelBatch)

    def models(self) -> frozenset[str]:
        """Return every model that has labels."""
        return frozenset(_read(frame.head, _Named).model for frame in self._frames(LABELS))

    def reviews(self, model: str) -> Iterator[Review]:
        """Yield what was decided about suspects of a model, in order."""
        for frame in self._frames(REVIEW):
            review = _read(frame.head, Review)
            if review.model == model:
                yield review

    def segments(self) -> list[Segment]:
        """Return what there is, without reading it."""
        return self._reader.segments()

    def _frames(self, kind: int) -> Iterator[Frame]:
        for segment in self._reader.segments():
            yield from (frame for frame in read_frames(content_of(segment)) if frame.kind == kind)


def read_batches(content: Buffer) -> Iterator[LabelBatch]:
    """Read the whole records of a segment of labels."""
    for frame in read_frames(content):
        if frame.kind == LABELS:
            yield _read(frame.head, LabelBatch)


class _Named(msgspec.Struct, frozen=True):
    model: str


def _read(head: memoryview, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(head, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidArgumentError(
            f"a record of the labels is none of this version of Bascule: {error}"
        ) from error
