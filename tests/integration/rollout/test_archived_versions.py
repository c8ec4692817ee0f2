"""What is said of versions of the registry that nobody wants any more."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.clock import SystemClock
from serving.errors import NotReadyError
from serving.registry import catalog
from serving.registry.rollouts.book import RolloutBook
from serving.registry.store import Registry
from serving.rollout.controller import Controller
from serving.rollout.driven import Ports
from serving.rollout.sources import Selection, Sources
from serving.settings import load_settings
from tests.fakes.cluster import FakeCluster, FakeEdges
from tests.fakes.pushed import push_versions

pytestmark = pytest.mark.anyio


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry whose version 1 was archived."""
    push_versions(tmp_path)
    with Registry(tmp_path) as opened:
        opened.unwant("m", 1, "ann")
        yield opened


def controller_over(registry: Registry) -> Controller:
    """A controller that has read nothing yet."""
    cluster = FakeCluster()
    ports = Ports(
        cluster=cluster,
        edges=FakeEdges(cluster),
        sources=Sources(registry, None, Selection()),
        clock=SystemClock(),
        rollouts=RolloutBook(registry),
    )
    return Controller(ports, load_settings(home=Path("/home/somebody")), mode="standalone")


async def test_an_archived_version_is_brought_back_by_a_rollout(registry: Registry) -> None:
    """Its promotion is refused with the command that loads it again."""
    controller = controller_over(registry)
    await controller.loop.start()

    with pytest.raises(NotReadyError, match=r"archived .* bascule rollout start m --to 1 loads"):
        await controller.promote("m", 1)


async def test_collected_files_are_told(registry: Registry) -> None:
    """What cannot be loaded any more is to be pushed again."""
    with registry.database.changing() as connection:
        catalog.set_collected(connection, "m", 1, registry.clock.utc_now())
    controller = controller_over(registry)
    await controller.loop.start()

    with pytest.raises(NotReadyError, match="files were collected: push its bundle again"):
        await controller.promote("m", 1)
