"""What may be posted as labels, and what a refusal says."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtimes.errors import BasculeError
from serving.errors import PayloadTooLargeError
from serving.predictions.labels.entries import MAX_ENTRIES, Cell, read_entries

ID = "0198c1de-7d2c-7001-9c1e-5f0f6f1d2a3b"
NOW_S = 1_780_000_000.0


def cells(*entries: dict[str, object]) -> list[Cell]:
    """Read entries, each with an id."""
    return read_entries(
        json.dumps([{"prediction_id": ID} | entry for entry in entries]).encode(), NOW_S
    )


def test_a_label_is_a_value_or_one_for_each_output() -> None:
    """Numbers, texts and booleans; what is left out has its default."""
    whole = {"label": 3, "row": 2, "source": "desk", "weight": 2}
    found = cells({"label": True}, whole, {"label": {"a": 0.5, "b": "cat"}})

    assert [(cell.row, cell.output, cell.value) for cell in found] == [
        (0, "", 1.0),
        (2, "", 3.0),
        (0, "a", 0.5),
        (0, "b", "cat"),
    ]
    assert (found[1].source, found[1].weight) == ("desk", 2.0)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"label": None}, "entry 1, label"),
        ({"label": [1]}, "entry 1, label"),
        ({"label": {}}, "entry 1, label"),
        ({"label": {"a": None}}, "entry 1, label"),
        ({"label": "x" * 257}, "entry 1, label"),
        ({"label": "\x1b[2J"}, "entry 1, label"),
        ({"label": 1, "source": "a\nb"}, "entry 1, source"),
        ({"label": "ab\n"}, "entry 1, label"),
        ({"label": "a\x9b2J"}, "entry 1, label"),
        ({"label": 1, "row": -1}, "entry 1, row"),
        ({"label": 1, "row": "0"}, "entry 1, row"),
        ({"label": 1, "weight": 0}, "entry 1, weight"),
        ({"label": 1, "label_time": "today"}, "entry 1, label_time"),
        ({"label": 1, "label_time": "2099-01-01T00:00:00Z"}, "label_time: it lies in the future"),
        ({"label": 1, "prediction_id": "7"}, "entry 1, prediction_id: '7' is no id"),
        ({"label": 1, "note": ""}, "entry 1, note"),
        ({}, "entry 1, label"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_refusal_names_entry_and_field(entry: dict[str, object], told: str) -> None:
    """Whoever sent thousands of labels finds the one that is wrong."""
    with pytest.raises(BasculeError) as refused:
        cells({"label": 0}, entry)

    assert told in refused.value.message


def test_too_many_are_refused_before_they_are_decoded() -> None:
    """The count is told by the bytes; this body is no JSON at all."""
    with pytest.raises(PayloadTooLargeError, match="10001 labels in one request, 10000 at most"):
        read_entries(b'"prediction_id"' * (MAX_ENTRIES + 1), NOW_S)


def test_too_many_are_refused_however_their_names_are_written() -> None:
    """JSON has escapes for letters, too."""
    entry = json.dumps({"prediction_id": ID, "label": 1}).replace(
        "prediction_id", r"prediction_\u0069d"
    )
    body = f"[{','.join([entry] * (MAX_ENTRIES + 1))}]".encode()
    with pytest.raises(PayloadTooLargeError, match="10001 labels in one request, 10000 at most"):
        read_entries(body, NOW_S)
    assert len(read_entries(f"[{entry}]".encode(), NOW_S)) == 1


@given(st.binary(max_size=200) | st.from_regex(r'\[\{"prediction_id":.{0,60}\}\]').map(str.encode))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    """Whatever comes is read or refused."""
    with suppress(BasculeError):
        assert isinstance(read_entries(body, NOW_S), list)
