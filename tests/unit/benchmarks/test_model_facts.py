"""What an instance says of a model's runs."""

import pytest

from benchmarks.model_facts import Runs


def test_rows_a_batch_count_from_where_it_stood() -> None:
    """What ran before is not among them, and no batch has no rows."""
    before, after = Runs(rows=100, batches=50), Runs(rows=130, batches=54)

    assert after.mean_rows_since(before) == pytest.approx(7.5)
    assert after.mean_rows_since(after) == 0
