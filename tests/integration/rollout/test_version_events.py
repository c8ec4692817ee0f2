"""What an instance tells of its versions, in the registry's outbox."""

import asyncio
from pathlib import Path

import pytest

from serving.events.outbox_book import OutboxBook
from serving.registry.announcing.event_types import kind_of
from serving.registry.rollouts.plan import Plan
from serving.registry.rollouts.record import RolloutState
from serving.registry.store import Registry
from serving.rollout.version_news import VersionNews
from tests.fakes.bundles import make_bundle
from tests.fakes.waiting import until
from tests.integration.rollout.test_rollout_driver import Instance, running

pytestmark = pytest.mark.anyio


async def test_a_rollout_tells_which_version_came_and_which_went(tmp_path: Path) -> None:
    """What was loaded when the instance began is no news; its promotion was, with who and why."""
    with Registry(tmp_path / "home") as registry:
        for number in (1, 2):
            bundle = make_bundle(tmp_path / str(number), version=number, content=b"%d" % number)
            registry.push(bundle.folder, "ann")
        registry.pin_live("m", 1, "ann", reason="the first")
        outbox = OutboxBook(registry)
        async with running(Instance(registry)) as it:
            teller = asyncio.ensure_future(VersionNews(it.controller.loop, outbox).run())
            await it.controller.start_rollout("m", 2, Plan(bake_s=0))
            await it.until(RolloutState.COMPLETE)

            def kinds(version: int) -> list[str]:
                events = [one.event for one in outbox.read("m")]
                return [kind_of(one.type) for one in events if one.subject == f"m/{version}"]

            await asyncio.to_thread(until, lambda: "version.unloaded" in kinds(1), "it went")
            teller.cancel()

    assert kinds(1)[:2] == ["version.pushed", "live.moved"]
    assert kinds(1)[-2:] == ["version.archived", "version.unloaded"]
    assert "version.loaded" not in kinds(1)
    assert "live.moved" in kinds(2)
