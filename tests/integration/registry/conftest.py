"""A registry of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.registry.store import Registry


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that nothing was written to."""
    return tmp_path / "home"


@pytest.fixture
def registry(home: Path) -> Iterator[Registry]:
    """An open registry, empty."""
    with Registry(home) as opened:
        yield opened
