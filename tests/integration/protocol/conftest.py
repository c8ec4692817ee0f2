"""The servers of all promises of the protocol: `bascule serve`, and a bare worker.

`PROTOCOL_SUITE_MODE` names other ones, with commas: `standalone`, `worker`, and `ray` for the edge
of an instance on Ray. What a worker leaves to others is marked `front_desk` with the reason, and
skipped there.
"""

from collections.abc import Iterator

import pytest

from serving.settings import inherited_environment
from tests.fakes.bare_worker import served_by_a_worker
from tests.fakes.protocol_server import Served, served_protocol_models

PLACE = "tests/integration/protocol/"
MODES = inherited_environment().get("PROTOCOL_SUITE_MODE", "standalone,worker").split(",")


@pytest.fixture(scope="session", params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """How the server is run: `standalone`, `ray` or `worker`."""
    return str(request.param)


@pytest.fixture(scope="session")
def served(mode: str) -> Iterator[Served]:
    """A running server with the protocol's models, and clients of it."""
    if mode == "worker":
        with served_by_a_worker() as running:
            yield running
        return
    with served_protocol_models(mode) as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, of a bare worker, what the front desk answers."""
    for item in items:
        mark = item.get_closest_marker("front_desk")
        if mark is not None and _mode_of(item) == "worker":
            item.add_marker(pytest.mark.skip(reason=f"a bare worker: {mark.args[0]}"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many promises each server was asked."""
    told = terminalreporter.stats
    for mode in MODES:
        asked, left = (
            sum(f"[{mode}" in report.nodeid and PLACE in report.nodeid for report in reports)
            for reports in (
                [*told.get("passed", ()), *told.get("failed", ())],
                told.get("skipped", ()),
            )
        )
        terminalreporter.write_line(f"protocol, {mode}: {asked} promises asked, {left} skipped")


def _mode_of(item: pytest.Item) -> str:
    callspec = getattr(item, "callspec", None)
    return "" if callspec is None else str(callspec.params.get("mode", ""))
