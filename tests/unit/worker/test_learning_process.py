"""What a process that learns a reference leaves: one whole file, whoever else learns of it."""

import errno
import os
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from serving.monitor.drift.columns import Role
from serving.monitor.drift.learning import Tensor
from serving.monitor.drift.storage import from_bytes
from serving.worker.drift.learning_process import main, written


def _learn(folder: Path, seed: int) -> bytes:
    """Learn of rows that no other seed has; returns the reference that is there afterwards."""
    values = np.random.default_rng(seed).normal(size=(500, 1)).astype(np.float32)
    rows, reference = folder / f"{seed}.rows", folder / "m-1.drift"
    rows.write_bytes(written([Tensor(name="x", role=Role.INPUT, values=values)]))
    assert main([str(rows), str(reference)]) == 0
    return reference.read_bytes()


def _no_links(*_: object) -> NoReturn:
    raise PermissionError(errno.EPERM, "Operation not permitted")


@pytest.fixture(autouse=True)
def _of_usual_niceness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "nice", lambda _: 0)


def test_a_reference_is_learnt_where_the_file_system_has_no_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on exFAT, and on many shares: it is there, whole, and no half of it beside it."""
    monkeypatch.setattr(os, "link", _no_links)

    learnt = from_bytes(_learn(tmp_path, 1))

    assert learnt.baseline.rows == 500
    assert {path.name for path in tmp_path.iterdir()} == {"m-1.drift", ".lock"}


def test_the_first_reference_of_a_version_stays(tmp_path: Path) -> None:
    """Another replica that learnt of other rows uses the one that is there."""
    first = _learn(tmp_path, 1)

    assert _learn(tmp_path, 2) == first
