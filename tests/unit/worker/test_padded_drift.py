"""What is watched for drift of calls that ran padded: their own rows, in their own length."""

import numpy as np

from runtimes.contract import Array
from serving.ids import VersionKey
from serving.monitor.drift.calibration import FalseAlarms
from serving.monitor.drift.columns import Role
from serving.monitor.drift.learning import Tensor, learn_tensors
from serving.monitor.drift.profile import Profile
from serving.registry.policies.padding_policy import padding_policy
from serving.registry.version import VersionSpec
from serving.wire.padding_fit import fit_padding
from serving.worker.drift.sinks import Sums
from serving.worker.drift.version_watch import VersionWatch, plan_for
from serving.worker.executor import VersionRunner
from serving.worker.padded_stacking import PaddedStacker
from serving.worker.recorder import FIRST_THREAD_SLOT, FlightRecorder
from tests.fakes.batching import HeldCall
from tests.fakes.ensembles import served
from tests.fakes.function_model import FunctionModel
from tests.fakes.padded_models import INPUTS, OUTPUTS, answer, checks_of, declared, decoded, texts

SERVED = served(INPUTS, OUTPUTS, 64)
SPEC = VersionSpec(
    model="texts", version=1, file="f", format="onnx", size_bytes=1, digest="d", origin="test"
)
LONG, SHORT = 6, 3


def reference(rng: np.random.Generator) -> Profile:
    """Learn from texts that are all of the long length."""
    inputs = texts(rng, 400, LONG)
    hidden, _ = answer(inputs)
    ids = inputs["input_ids"].astype(np.float64)
    tensors = [
        Tensor(name="input_ids", role=Role.INPUT, values=ids),
        Tensor(name="last_hidden_state", role=Role.OUTPUT, values=hidden.reshape(400, -1)),
    ]
    allowed = FalseAlarms(replicates=4, horizon_rows=500)
    return learn_tensors(tensors, is_ordered=True, allowed=allowed)


def compute(feeds: list[Array | None]) -> list[Array]:
    """Compute `masked_mean`."""
    given = [array for array in feeds if array is not None]
    return list(answer(dict(zip(("input_ids", "attention_mask"), given, strict=True))))


def test_drift_sees_nothing_of_padding() -> None:
    """A short call that was padded to the reference's length is not taken for one of it."""
    rng = np.random.default_rng(9)
    padding = fit_padding(padding_policy(declared()), SERVED)
    assert padding is not None
    asked = [texts(rng, 1, length) for length in (LONG, SHORT, LONG)]
    calls = []
    for inputs in asked:
        call = HeldCall(0.0)
        call.call = decoded(checks_of(padding), list(inputs.values()))
        calls.append(call)
    plan = plan_for(Sums(reference(rng), SERVED, None, "e"))
    watch = VersionWatch(SPEC, 1e9, draw=rng.random, now_ns=lambda: 0)
    watch.follow(plan)
    model = FunctionModel(INPUTS, OUTPUTS, compute)
    stacker = PaddedStacker(INPUTS, OUTPUTS, max_batch_rows=64, padding=padding)
    note = FlightRecorder(None).note(VersionKey("texts", 1))
    (part,) = VersionRunner(model, stacker, note, lambda: 1).run(calls, 3, FIRST_THREAD_SLOT)

    watch.take(part, 2)
    (ids, hidden), (has_ids, has_hidden), _ = plan.ring.take(10)

    assert model.runs == [[(3, LONG), (3, LONG)]]
    assert has_ids.tolist() == has_hidden.tolist() == [True, False, True]
    for row in (0, 2):
        np.testing.assert_array_equal(ids[row], asked[row]["input_ids"][0])
        np.testing.assert_array_equal(hidden[row], answer(asked[row])[0].ravel())
