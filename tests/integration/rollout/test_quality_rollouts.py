"""A rollout between versions with data contracts, over a cluster in memory."""

from collections.abc import Collection
from pathlib import Path

import pytest

from serving.ids import VersionKey
from serving.monitor.traffic import Lives, QualityCounts, TrafficCounters, TrafficDelta
from serving.registry.bundles.packing import PackOrder, pack_bundle
from serving.registry.rollouts.plan import Plan, QualityTest, Step, Strategy
from serving.registry.rollouts.record import RolloutState
from serving.registry.store import Registry
from tests.fakes.bundles import CONFIG, PACKED_UTC
from tests.integration.rollout.test_rollout_driver import FaultyCluster, Instance, running

pytestmark = pytest.mark.anyio

CONTRACT = "contract: 1\ninputs: {x: {max: 9, on_violation: reject}}\n"
CANARY = Plan(strategy=Strategy.CANARY, steps=(Step(share=5000, hold_s=600),))
JUDGED, REFUSED = 1000, 30
"""Of each version's calls between two looks; only version 2 refuses any."""


class RefusingCluster(FaultyCluster):
    """Version 2's contract refuses some of its calls."""

    look_count = 0

    async def traffic(self, keys: Collection[VersionKey], *, with_outputs: bool = False) -> Lives:
        """Tell of more calls with each look."""
        self.look_count += 1
        series = (_counted(1, self.look_count, 0), _counted(2, self.look_count, REFUSED))
        self.counted = {"w": series}
        return await super().traffic(keys, with_outputs=with_outputs)


def _counted(version: int, looks: int, refused: int) -> TrafficCounters:
    quality = QualityCounts(judged_count=looks * JUDGED, refused_count=looks * refused)
    counted = TrafficDelta(answered_count=looks * (JUDGED - refused), quality=quality)
    return TrafficCounters(model="m", version=version, began_ns=1, counted=counted)


def pushed(registry: Registry, folder: Path, version: int) -> None:
    """Push a version with a contract."""
    source = folder / f"{version}"
    source.mkdir()
    (source / "model.echo").write_text(str(version))
    (source / "contract.yaml").write_text(CONTRACT)
    order = PackOrder(
        model_file=source / "model.echo",
        name="m",
        version=version,
        created_utc=PACKED_UTC,
        config=CONFIG,
        contract_file=source / "contract.yaml",
    )
    registry.push(pack_bundle(order, source / "bundle").folder, "ann")


async def test_a_contract_that_refuses_more_calls_is_taken_back(tmp_path: Path) -> None:
    """Settled by the bundles when it begins, compared by what workers count, with the numbers."""
    with Registry(tmp_path / "home") as registry:
        for version in (1, 2):
            pushed(registry, tmp_path, version)
        registry.pin_live("m", 1, "ann")
        async with running(Instance(registry, cluster=RefusingCluster())) as it:
            ahead = await it.controller.plan_rollout("m", 2, CANARY)
            begun = await it.controller.start_rollout("m", 2, CANARY)
            ended = await it.until(RolloutState.ROLLED_BACK)

    tests = (ahead.data_quality, begun.plan.guardrails.data_quality)
    assert tests == (QualityTest.COMPARED, QualityTest.COMPARED)
    assert ended.note.startswith("input_quality: by the candidate's data contract ")
    assert "calls were refused (3.000%), by the live version's 0 of " in ended.note
