"""Data contracts of ensembles: what is enforced when one is put together anew."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from runtimes.errors import InvalidArgumentError, ModelLoadError
from serving.ids import VersionKey
from serving.monitor.statistics_recorder import StatisticsRecorder
from serving.registry.contracts.contract_file import parse_contract
from serving.registry.contracts.data_contract import DataContract
from serving.registry.version import ServingPolicy, VersionSpec
from serving.wire.call import CallSpec, InferCall
from serving.wire.regions import NoRegions
from serving.wire.v2_json import V2JsonCodec
from serving.wire.v2_proto import V2ProtoCodec
from serving.worker.ensembles import open_ensemble
from serving.worker.executor import Executor
from serving.worker.handover import Handover
from serving.worker.loaded import LoadedVersion, Shop
from serving.worker.queued import QueueBytes
from serving.worker.response_cache import ResponseCache
from tests.fakes.ensembles import SumIntake, served, step, tensor

STEP = step("a", {"i0": "x"}, {"o": "y"}, version=1)


def contract(text: str) -> DataContract:
    """A contract about an input."""
    return parse_contract(f"contract: 1\ninputs: {{{text}}}\n".encode())


LOOSE = contract("x: {max: 100, on_violation: reject}")
STRICT = contract("x: {max: 1, on_violation: reject}")
FOREIGN = contract("z: {max: 1, on_violation: reject}")


class Bench:
    """What puts an ensemble of one step together."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.shop = Shop(
            loop=loop,
            executor=Executor(loop),
            queue_bytes=QueueBytes(),
            max_queue_bytes=1 << 20,
            now_ns=lambda: 1,
            cache=ResponseCache(0),
            handover=Handover("w", loop, lambda: 1),
            regions=NoRegions(),
            utc_s=lambda: 1.0,
        )
        self.members = {VersionKey("a", 1): self._member()}

    def _member(self) -> LoadedVersion:
        spec, described = version("a", 1), served([tensor("i0")], [tensor("o")])
        calls = CallSpec(
            model="a",
            version=1,
            inputs=described.inputs,
            outputs=described.outputs,
            max_batch_rows=described.max_batch_rows,
        )
        return LoadedVersion(
            spec=spec,
            served=described,
            model=None,
            json_codec=V2JsonCodec(calls, regions=self.shop.regions),
            proto_codec=V2ProtoCodec(calls, regions=self.shop.regions),
            batcher=SumIntake(),
            statistics=StatisticsRecorder(spec.key),
            default_timeout_ns=0,
        )

    def opened(
        self, asked: DataContract | None, before: LoadedVersion | None = None
    ) -> LoadedVersion:
        """Put the ensemble together, with a contract or none."""
        policy = ServingPolicy(
            max_batch_rows=8,
            inputs=(tensor("x", -1),),
            outputs=(tensor("y", -1),),
            ensemble=(STEP,),
        )
        spec = replace(version("e", 1), policy=policy, contract=asked)
        return open_ensemble(self.shop, spec, self.members, before)


def version(model: str, number: int) -> VersionSpec:
    """A version without files."""
    return VersionSpec(
        model=model, version=number, file="", format="", size_bytes=0, digest="d", origin=""
    )


def ask(ensemble: LoadedVersion, value: float) -> None:
    """Have a request judged as its contract says."""
    raw = np.full((1, 1), value, np.float32).tobytes()
    call = InferCall(id="", rows=1, shapes=((1, 1),), stack_key=(), tensors=(raw,), outputs=())
    if ensemble.quality is not None:
        ensemble.quality.admit(call)


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench whose loop is closed at the end."""
    loop = asyncio.new_event_loop()
    yield Bench(loop)
    loop.close()


@pytest.mark.parametrize("before", [None, LOOSE])
def test_a_new_contract_is_enforced(bench: Bench, before: DataContract | None) -> None:
    """Whether the ensemble had none or another one, and although nothing else has changed."""
    old = bench.opened(before)
    ask(old, 50.0)

    new = bench.opened(STRICT, old)

    with pytest.raises(InvalidArgumentError, match="input 'x' row 0 is above the maximum 1"):
        ask(new, 50.0)


def test_a_contract_that_was_taken_away_refuses_nothing(bench: Bench) -> None:
    """And costs nothing: there is no gate."""
    new = bench.opened(None, bench.opened(STRICT))

    assert new.quality is None


def test_a_new_contract_must_fit(bench: Bench) -> None:
    """The ensemble is refused with the code that preflight has for it."""
    old = bench.opened(LOOSE)

    with pytest.raises(ModelLoadError, match="BP-D01 contract: z: the model has no input 'z'"):
        bench.opened(FOREIGN, old)


def test_the_same_contract_goes_on_counting(bench: Bench) -> None:
    """When only a step's model was replaced."""
    old = bench.opened(LOOSE)
    ask(old, 50.0)

    new = bench.opened(LOOSE, old)
    ask(new, 50.0)

    assert new.quality is not None
    assert new.quality.report().row_count == 2
