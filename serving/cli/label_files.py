"""Reads labels from a file: a JSON list, JSON lines, or CSV with a header."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from runtimes.errors import InvalidArgumentError
from serving.cli.predict_tensors import read_text
from serving.predictions.labels.entries import MAX_ENTRIES

NUMBERS: Final = frozenset({"row", "weight"})


def read_label_posts(file: str) -> Iterator[bytes]:
    """Yield the bodies of the posts that bring a file's labels.

    Args:
        file: Its path, or `-` for JSON from standard input.

    Raises:
        InvalidArgumentError: It cannot be read, or is no list of labels.
    """
    entries = _entries(read_text(file), Path(file).suffix, file)
    if not entries:
        raise InvalidArgumentError(f"{file}: there is no label in it")
    for at in range(0, len(entries), MAX_ENTRIES):
        yield msgspec.json.encode(entries[at : at + MAX_ENTRIES])


def _entries(text: str, suffix: str, file: str) -> list[object]:
    try:
        if suffix == ".csv":
            return [_row(line) for line in csv.DictReader(io.StringIO(text))]
        if suffix in {".jsonl", ".ndjson"}:
            return [msgspec.json.decode(line) for line in text.split("\n") if line.strip()]
        return msgspec.json.decode(text, type=list[object])
    except csv.Error as error:
        raise InvalidArgumentError(f"{file}: {error}: a CSV file is expected") from error
    except msgspec.MsgspecError as error:
        raise InvalidArgumentError(f"{file}: {error}: a JSON list of labels is expected") from error


def _row(line: Mapping[str | None, str | None]) -> Mapping[str, object]:
    """Read a line of CSV: empty fields are left out; labels that numbers are written like are."""
    if None in line:
        raise InvalidArgumentError(f"a line has more fields than the header: {line[None]}")
    given = {name: value for name, value in line.items() if name and value}
    return {
        name: _number(value) if name in NUMBERS else _label(value) if name == "label" else value
        for name, value in given.items()
    }


def _label(text: str) -> object:
    """Read a label: `01`, `1_0` and `nan` may be names of classes, and stay as they are written."""
    found = _number(text)
    is_number = isinstance(found, int | float) and math.isfinite(found)
    return found if is_number and str(found) == text else text


def _number(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
