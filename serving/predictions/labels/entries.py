"""What clients may post as labels: a list of entries, checked before anything is kept of it.

::

    [{"prediction_id": "0198…", "label": 3}, {"prediction_id": "0198…", "row": 1,
      "label": {"risk": 0.25, "class": "fraud"}, "label_time": "2026-05-01T12:30:00Z",
      "source": "desk", "weight": 2.0}]

A label is a number, a text or a boolean (1 or 0), or one of these for each output that is named.
"""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec

from runtimes.errors import InvalidArgumentError
from serving.errors import PayloadTooLargeError
from serving.predictions.ids import is_prediction_id
from serving.wire.tensors import Buffer

MAX_ENTRIES: Final = 10_000
MAX_BODY_BYTES: Final = 4 << 20
MAX_OUTPUTS: Final = 32
MAX_TEXT_CHARACTERS: Final = 256
MAX_ROW: Final = 1_000_000
AHEAD_S: Final = 60.0
"""So far in the future a label's time may lie: clocks differ."""
_FIELD: Final = re.compile(rb'"prediction_id"')
_PATH: Final = re.compile(r"(.*?)(?: - at `\$\[(\d+)\](?:\.(\w+))?.*`)?", re.DOTALL)

PLAIN: Final = r"^[^\x00-\x1f\x7f-\x9f]*\Z"
"""No control characters: these texts are shown on terminals."""
_PLAIN: Final = re.compile(PLAIN)
# Without the pattern: msgspec 0.22 writes beyond its memory for one in a union with a dictionary.
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT_CHARACTERS)]
Value = int | float | str | bool
_Given = bool | Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)] | float | Text


class LabelEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One label as it is posted."""

    prediction_id: str
    label: (
        _Given | Annotated[dict[Text, _Given], msgspec.Meta(min_length=1, max_length=MAX_OUTPUTS)]
    )
    row: Annotated[int, msgspec.Meta(ge=0, le=MAX_ROW)] = 0
    """Of the request's rows."""
    label_time: datetime | None = None
    """When the truth was known; a later one supersedes an earlier one."""
    source: Annotated[str, msgspec.Meta(max_length=64, pattern=PLAIN)] = ""
    """Who says so: each source has its own label."""
    weight: Annotated[float, msgspec.Meta(gt=0, le=1e6)] = 1.0


class Cell(msgspec.Struct, frozen=True, array_like=True):
    """The label of one output of one row, as it is kept."""

    prediction_id: str
    row: int
    output: str
    """Empty: the one that the model is labelled by."""
    value: float | str
    source: str
    time_ns: int
    """When the truth was known; 0: when it was posted."""
    weight: float


def read_entries(body: Buffer, now_s: float) -> list[Cell]:
    """Read the body of a post.

    Args:
        body: JSON.
        now_s: Since 1970.

    Returns:
        What to keep: a cell for each output of each entry.

    Raises:
        PayloadTooLargeError: There are too many entries; if they are written plainly, none was
            decoded.
        InvalidArgumentError: It is none; the entry and its field are named.
    """
    _check_count(len(_FIELD.findall(body)))
    try:
        entries = msgspec.json.decode(body, type=list[LabelEntry])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _refusal(error) from error
    _check_count(len(entries))  # a name may be written with escapes
    return [cell for index, entry in enumerate(entries) for cell in _cells(index, entry, now_s)]


def _check_count(count: int) -> None:
    if count > MAX_ENTRIES:
        raise PayloadTooLargeError(
            f"{count} labels in one request, {MAX_ENTRIES} at most: send several requests"
        )


def time_ns(moment: datetime | None) -> int:
    """Return a moment in nanoseconds since 1970, UTC unless it says so; 0: none."""
    if moment is None:
        return 0
    whole = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(whole.timestamp() * 1e6) * 1000


def _cells(index: int, entry: LabelEntry, now_s: float) -> Iterator[Cell]:
    if not is_prediction_id(entry.prediction_id):
        raise _fault(
            index, "prediction_id", f"'{entry.prediction_id[:40]}' is no id that a reply gave "
            "(bascule-prediction-id)"
        )  # fmt: skip
    known_ns = time_ns(entry.label_time)
    if known_ns > (now_s + AHEAD_S) * 1e9:
        raise _fault(index, "label_time", "it lies in the future")
    if not math.isfinite(entry.weight):
        raise _fault(index, "weight", "a finite number is expected")
    labels = entry.label if isinstance(entry.label, dict) else {"": entry.label}
    for output, value in labels.items():
        if any(isinstance(text, str) and not _PLAIN.match(text) for text in (output, value)):
            raise _fault(index, "label", "control characters are not taken")
        if isinstance(value, float) and not math.isfinite(value):
            raise _fault(index, "label", "a finite number is expected")
        yield Cell(
            entry.prediction_id.lower(),
            entry.row,
            output,
            value if isinstance(value, str) else float(value),
            entry.source,
            known_ns,
            entry.weight,
        )


def _fault(index: int, field: str, why: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"labels: entry {index}, {field}: {why}")


def _refusal(error: Exception) -> InvalidArgumentError:
    """Say which entry and field a decoder has refused."""
    if isinstance(error, RecursionError):
        return InvalidArgumentError("labels: nested too deeply: a list of objects is expected")
    found = _PATH.fullmatch(str(error))
    told, index, field = found.groups() if found else (str(error), None, None)
    if index is None:
        return InvalidArgumentError(f"labels: a JSON list of labels is expected: {told}")
    named = re.search(r"field `(\w+)`", told)
    return _fault(int(index), field or (named[1] if named else "entry"), told)
