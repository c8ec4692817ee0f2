"""What is exported is read again as it was logged, whatever is in texts."""

import csv
import io

import numpy as np
import pytest
from pyarrow import parquet

from runtimes.contract import Array
from runtimes.errors import InvalidArgumentError
from serving.predictions.exporting import MAX_TEXT_BYTES, WRITERS

TEXTS = ("two\rlines", "two\r\nlines", "two\nlines", '"said", she', "", "nul\0", "é\u2028")


def _column(*texts: str) -> Array:
    array: Array = np.empty((len(texts), 1), dtype=object)
    array[:, 0] = texts
    return array


def test_texts_keep_their_ends_of_lines_in_csv() -> None:
    """A bare carriage return ends a line for readers, too: it must not cut a row in two."""
    content = WRITERS[".csv"]({"t": _column(*TEXTS), "n": np.arange(len(TEXTS))})
    header, *rows = csv.reader(io.StringIO(content.decode(), newline=""))

    assert header == ["t", "n"]
    assert rows == [[text, str(number)] for number, text in enumerate(TEXTS)]
    assert content.startswith(b"t,n\n"), "lines of the table itself end as files here do"


def test_texts_are_whole_in_parquet() -> None:
    """Also one that ends with NUL, which numpy's own texts cannot."""
    table = parquet.read_table(io.BytesIO(WRITERS[".parquet"]({"t": _column(*TEXTS)})))

    assert table["t"].to_pylist() == list(TEXTS)


def test_outputs_without_columns_are_empty_lists_in_parquet() -> None:
    """As of a detector that found nothing in any of the calls."""
    columns = {"boxes": np.zeros((2, 0, 4), np.float32)}
    table = parquet.read_table(io.BytesIO(WRITERS[".parquet"](columns)))

    assert table["boxes"].to_pylist() == [[], []]


def test_texts_that_would_fill_the_memory_are_refused_for_npz() -> None:
    """There all are as long as the longest; the other formats take each as it is."""
    columns = {"t": np.broadcast_to(_column("x" * 4096), (MAX_TEXT_BYTES // 4096, 1))}

    with pytest.raises(InvalidArgumentError, match=r"export to \.parquet or \.csv"):
        WRITERS[".npz"](columns)
