"""Older predictions that have labels: looked for in the log little by little, and kept once found.

::

    ids ──► segments of their time, `most_bytes` of them at a look ──► found ──► kept while labelled
                 │
                 └── the rest: at the next looks (`is_behind`)

What was looked for in a segment is not looked for in it again, so a label that is alone in a
segment has it read once, and labels all over the log never have it read whole at one look.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

import msgspec
import numpy as np

from serving.monitor.labels.rows import IntArray
from serving.predictions.ids import id_range
from serving.predictions.reading import Filter, PredictionReader, Segment, content_of
from serving.predictions.record import Prediction


@dataclass(frozen=True, slots=True)
class _Sought:
    """How far a segment was looked through."""

    look: int = 0
    """Ids that were heard of by then."""
    changed_ms: int = 0


_NEVER: Final = _Sought()


class LateAnswers:
    """Of one model. Belongs to one thread at a time."""

    def __init__(self, most_bytes: float = inf) -> None:
        """Have found nothing.

        Args:
            most_bytes: A look begins to read no further segment after so many; infinity: it reads
                all.
        """
        self._most_bytes = most_bytes
        self._look = 0
        self._heard: dict[str, int] = {}
        """Id → at which look it was new."""
        self._sought: dict[str, _Sought] = {}
        self._found: dict[str, Prediction] = {}
        self.is_behind = False
        """Whether the last look has left segments to the next one, and found too few: where labels
        come faster than a log can be read, what was found of the latest ones is all there is."""

    def look(
        self, reader: PredictionReader, ids: Sequence[str], wanted: Filter, most: int
    ) -> list[Prediction]:
        """Go on looking; return what is known by now, the newest first, without inputs.

        Args:
            reader: The log.
            ids: Of predictions that have labels, in lower case; the last label's at the end.
            wanted: Which of them.
            most: So many are kept: those whose labels were posted last.

        Raises:
            InvalidArgumentError: A segment cannot be read.
        """
        self._look += 1
        self._heard = {one: self._heard.get(one, self._look) for one in ids}
        waiting = self._waiting(reader.segments_of(wanted))
        left = self._most_bytes
        while waiting and left > 0:
            left -= self._read(reader, waiting.pop(0), wanted)
        kept = [one for one in ids if one in self._found][-most:]
        self.is_behind = bool(waiting) and len(kept) < most
        self._found = {one: self._found[one] for one in kept}
        return [self._found[one] for one in sorted(kept, reverse=True)]

    def _waiting(self, segments: list[Segment]) -> list[Segment]:
        """Return the segments that have to be read.

        First those that were read longest ago: one that is written all the time is read at each
        look, and must not keep others waiting.
        """
        self._sought = {
            each.name: self._sought[each.name] for each in segments if each.name in self._sought
        }
        in_order = sorted(self._heard.keys() - self._found.keys())
        heard = np.asarray([self._heard[one] for one in in_order], dtype=np.int64)
        found = [each for each in segments if self._has_news(each, in_order, heard)]
        return sorted(found, key=lambda each: (self._of(each).look, -each.created_ms))

    def _has_news(self, segment: Segment, in_order: Sequence[str], heard: IntArray) -> bool:
        """Tell whether ids of a segment's time were not looked for in it, as it is now."""
        asked = heard[id_range(in_order, *segment.time_ms)]
        before = self._of(segment)
        is_same = before.changed_ms == segment.changed_ms
        return bool(asked.size) and not (is_same and int(asked.max()) <= before.look)

    def _read(self, reader: PredictionReader, segment: Segment, wanted: Filter) -> int:
        content = content_of(segment)
        for one in reader.read(segment.name, content):
            if one.head.id in self._heard and wanted.takes(one):
                self._found[one.head.id] = _without_inputs(one)
        self._sought[segment.name] = _Sought(self._look, segment.changed_ms)
        return len(content)

    def _of(self, segment: Segment) -> _Sought:
        return self._sought.get(segment.name, _NEVER)


def _without_inputs(prediction: Prediction) -> Prediction:
    """Return a copy that keeps no other bytes of its segment."""
    begin = sum(tensor.size_bytes for tensor in prediction.head.inputs)
    head = msgspec.structs.replace(prediction.head, inputs=())
    tail = memoryview(bytes(prediction.tail[begin:]))
    return msgspec.structs.replace(prediction, head=head, tail=tail)
