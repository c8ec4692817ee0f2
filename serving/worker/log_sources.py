"""The versions whose calls are logged, as the writer of the log must know them.

What a version's files are takes seconds to find out where they are large: a thread of its own reads
them, and until it has, what is written of the version says nothing of its files.
"""

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Final

import structlog

from serving.ids import VersionKey
from serving.monitor.log_counts import LogTally
from serving.predictions.record import Source, encode_source, needs_reading, with_files
from serving.predictions.writing import SegmentWriter

READ_S: Final = 0.1
"""So long the first record of a version waits for what its files are: small ones are read then."""

log = structlog.get_logger(__name__)


class _Known:
    """A version, as far as it is known."""

    def __init__(self, source: Source, tally: LogTally) -> None:
        self.source = source
        self.tally = tally
        self.is_new = True
        self.is_read = threading.Event()


class LogSources:
    """`add` and `close` are the loop's, or the collector's; all others are the writer's."""

    def __init__(self) -> None:
        """Know none."""
        self._added: SimpleQueue[_Known] = SimpleQueue()
        self._unread: SimpleQueue[_Known] = SimpleQueue()
        self._closed: SimpleQueue[int] = SimpleQueue()
        self._known: dict[int, _Known] = {}

    def add(self, source: Source, tally: LogTally) -> None:
        """Announce a version that was loaded."""
        known = _Known(source, tally)
        if needs_reading(source.spec):
            self._unread.put(known)
        self._added.put(known)

    def close(self, number: int) -> None:
        """Announce that none of a version's calls will come any more."""
        self._closed.put(number)

    def read_always(self) -> None:
        """Read files, for ever."""
        while True:
            known = self._unread.get()
            model = known.source.spec.model
            try:
                known.source = with_files(known.source)
            except OSError as error:
                reason = error.strerror or str(error)
                log.warning("prediction_log_knows_no_files", model=model, reason=reason)
            except Exception:  # process edge: the log goes on without these files
                log.exception("prediction_log_knows_no_files", model=model)
            known.is_read.set()

    def tell(self, writer: SegmentWriter, number: int) -> None:
        """Let a writer know what there is to know of a version whose record it writes next."""
        self._take()
        known = self._known[number]
        if known.is_new:
            must_read = needs_reading(known.source.spec)
            is_read = not must_read or self.wait_until_read(number, READ_S)
        elif known.is_read.is_set():
            is_read = True
        else:
            return
        writer.put_source(number, encode_source(known.source))
        known.is_new = False
        if is_read:
            known.is_read.clear()

    def wait_until_read(self, number: int, timeout_s: float) -> bool:
        """Wait until a version's files were read, after its first `tell`; say whether they were."""
        return self._known[number].is_read.wait(timeout_s)

    def forget(self, writer: SegmentWriter) -> None:
        """Forget the versions that were closed."""
        self._take()
        while not self._closed.empty():
            number = self._closed.get()
            self._known.pop(number, None)
            writer.forget_source(number)

    def tallies(self, key: VersionKey) -> Iterator[LogTally]:
        """Yield what counts a version's log, if this worker has it."""
        for known in self._known.values():
            if known.source.spec.key == key:
                yield known.tally

    def _take(self) -> None:
        while not self._added.empty():
            known = self._added.get()
            self._known[known.source.number] = known
