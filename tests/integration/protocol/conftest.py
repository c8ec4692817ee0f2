"""One server for all promises of the protocol: `bascule serve`, or `bascule up` if asked to.

`PROTOCOL_SUITE_MODE=ray` runs the same tests behind the edge of an instance on Ray.
"""

from collections.abc import Iterator

import pytest

from serving.settings import inherited_environment
from tests.fakes.protocol_server import Served, served_protocol_models


@pytest.fixture(scope="session")
def mode() -> str:
    """How the server is run: `standalone` or `ray`."""
    return inherited_environment().get("PROTOCOL_SUITE_MODE", "standalone")


@pytest.fixture(scope="session")
def served(mode: str) -> Iterator[Served]:
    """A running server with the protocol's models, and clients of it."""
    with served_protocol_models(mode) as running:
        yield running
