"""Rows that somebody brings: what no column can hold is refused by its name."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from runtimes.errors import InvalidArgumentError
from serving.cli.data_rows import read_columns


@pytest.mark.parametrize(
    "rows",
    [[[1], [1, 2]], [None, [1.0, 2.0]], [b"cat", b"\xff"]],
    ids=["lists of other lengths", "lists and none", "bytes that are no text"],
)
def test_a_parquet_column_without_one_shape_is_named(rows: list[object], tmp_path: Path) -> None:
    """As lists of tokens have none: whoever brings them learns which column to leave out."""
    file = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"x": [1.0, 2.0], "tokens": rows}), file)

    with pytest.raises(InvalidArgumentError, match="column 'tokens' are no numbers or texts"):
        read_columns(file)
