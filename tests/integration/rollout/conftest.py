"""Async tests of this folder run on asyncio."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Bascule is asyncio only."""
    return "asyncio"
