"""What a worker answered comes out again from its log, or the reason why not is named."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from pyarrow import parquet

from runtimes.contract import Array
from runtimes.errors import InvalidArgumentError
from serving.predictions.exporting import export_predictions
from serving.predictions.reading import Filter, Found, PredictionReader
from serving.predictions.record import Prediction
from serving.predictions.replay import PredictionReplay, PredictionReplayer
from serving.predictions.shelf import Shelf
from serving.registry.bundles.reproduction import Verdict
from serving.registry.policies.log_policy import LogPolicy
from serving.registry.version import VersionSpec
from tests.fakes import models
from tests.fakes.logged_worker import PARAMETER, logged_ids, logging_worker
from tests.fakes.worker_process import infer, version

TINY = "/v2/models/tiny/infer"
SIZES = (1, 3, 2, 1, 4, 2, 1, 2)


@dataclass(frozen=True)
class Answered:
    """Predictions of one worker that has ended."""

    place: Path
    spec: VersionSpec
    mixed: tuple[str, ...]
    """Ids of calls that ran in one batch."""
    asked: tuple[Array, ...]
    hashed: str

    def found(self, prediction_id: str) -> Found:
        """Return one of them."""
        found = PredictionReader(str(self.place)).find(prediction_id)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Answered:
    """Calls of several sizes that were answered together, and one whose inputs are not kept."""
    folder = tmp_path_factory.mktemp("answered")
    spec = version(folder, "tiny", models.tiny())
    other = version(folder, "hashed", models.tiny(), number=2)
    hashed = replace(other, policy=replace(other.policy, log=LogPolicy(inputs="hash")))
    rng = np.random.default_rng(3)
    asked = [rng.normal(size=(size, 16)).astype(np.float32) for size in SIZES]
    with logging_worker(folder) as (worker, place), worker.client() as client:
        worker.apply(spec, hashed)
        client.send(b"".join(infer(TINY, {"x": rows}) for rows in asked))
        ids = [str(client.read().json()["parameters"][PARAMETER]) for _ in asked]
        reply = client.ask(infer("/v2/models/hashed/infer", {"x": asked[0]}))
        last = str(reply.json()["parameters"][PARAMETER])
        logged_ids(place, [*ids, last])
        assert worker.stop() == 0
    return Answered(place, spec, tuple(ids), tuple(asked), last)


def _replayed(found: Found, threads: int = 0) -> PredictionReplay:
    with Shelf() as shelf:
        replayer = PredictionReplayer(
            shelf=shelf, locate=lambda _: None, may_execute=lambda _: False, threads=threads
        )
        return replayer.replay(found)


def test_calls_of_a_mixed_batch_come_out_bit_for_bit(answered: Answered) -> None:
    """Each is found by its id, with its company, and gives exactly what it gave."""
    found = [answered.found(each) for each in answered.mixed]
    replays = [_replayed(each) for each in found]

    assert max(each.prediction.head.batch.calls for each in found) > 1
    assert all(each.is_whole for each in found)
    assert {each.verdict for each in replays} == {Verdict.EXACT}
    assert all(not each.changes for each in replays)


def test_a_lone_record_of_a_batch_is_enough(answered: Answered) -> None:
    """Where the others' rows are not in the log, the call's own rows make up the batch."""
    whole = max(
        (answered.found(each) for each in answered.mixed),
        key=lambda each: each.prediction.head.batch.calls,
    )
    replayed = _replayed(replace(whole, company=(whole.prediction,)))

    assert replayed.verdict is Verdict.EXACT
    assert "unknown" in replayed.batch


def test_another_thread_count_is_named(answered: Answered) -> None:
    """It is a change that can matter, with both numbers."""
    replayed = _replayed(answered.found(answered.mixed[0]), threads=2)

    assert replayed.verdict.exit_status == 0
    assert [str(change) for change in replayed.changes if change.matters] == ["threads 1 → 2"]


def test_another_library_is_named(answered: Answered) -> None:
    """A package of another version is a change by name; wrong results are explained by it."""
    found = answered.found(answered.mixed[0])
    source = found.prediction.source
    environment = source.environment
    assert environment is not None
    packages = {**environment.packages, "numpy": "0.9"}
    before = replace(environment, packages=packages)
    pretended = _with_output(found, msgspec.structs.replace(source, environment=before), 1e-1)
    replayed = _replayed(pretended)

    assert replayed.verdict is Verdict.DIFFERENT
    assert any(reason.startswith("the environment is another one") for reason in replayed.reasons)
    assert any(str(change).startswith("numpy 0.9 → ") for change in replayed.changes)
    comparison = replayed.outputs[0].comparison
    assert comparison.first_difference == (0, 0)
    assert comparison.largest_ulp > 0


def test_a_model_that_does_not_repeat_itself_is_told(answered: Answered) -> None:
    """Nothing else changed, and the result is another one: that is what is said."""
    found = answered.found(answered.mixed[0])
    replayed = _replayed(_with_output(found, found.prediction.source, 1e-1))

    assert replayed.verdict is Verdict.DIFFERENT
    assert "does not repeat itself" in replayed.reasons[-1]


def test_inputs_that_were_not_kept_are_no_guess(answered: Answered) -> None:
    """The verdict is that nobody can tell, and why."""
    replayed = _replayed(answered.found(answered.hashed))

    assert replayed.verdict is Verdict.UNVERIFIABLE
    assert replayed.verdict.exit_status == 2
    assert replayed.reasons == ("the inputs were not logged: x (only the sha256 was kept)",)


def test_a_changed_weight_is_named(answered: Answered) -> None:
    """One byte of a weight makes it another model: its file is named, and what differs."""
    file = Path(answered.spec.file)
    content = file.read_bytes()
    spoilt = bytearray(content)
    at = content.index(models.WEIGHT.tobytes()[:16])
    spoilt[at + 3] ^= 1
    file.write_bytes(spoilt)
    try:
        replayed = _replayed(answered.found(answered.mixed[0]))
    finally:
        file.write_bytes(content)

    assert replayed.verdict is Verdict.DIFFERENT
    assert f"{file.name} was changed: sha256" in replayed.reasons[0]
    assert not replayed.outputs[0].comparison.is_exact


def test_a_model_that_is_gone_is_told(answered: Answered) -> None:
    """Without its file nobody can tell."""
    file = Path(answered.spec.file)
    away = file.rename(file.with_suffix(".away"))
    try:
        replayed = _replayed(answered.found(answered.mixed[0]))
    finally:
        away.rename(file)

    assert replayed.verdict is Verdict.UNVERIFIABLE
    assert replayed.reasons[0].startswith("the model is gone")


def test_an_unknown_id_is_not_found(answered: Answered) -> None:
    """An id of that time that nobody has logged."""
    other = f"{answered.hashed[:-1]}{'0' if answered.hashed[-1] != '0' else '1'}"

    assert PredictionReader(str(answered.place)).find(other) is None


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet"])
def test_the_log_becomes_a_training_set(answered: Answered, tmp_path: Path, suffix: str) -> None:
    """Inputs and outputs of each row, with a lineage that says which model, when and how many."""
    target = tmp_path / f"train{suffix}"
    lineage = export_predictions(
        PredictionReader(str(answered.place)), Filter(model="tiny"), target
    )
    beside = json.loads(target.with_name(target.name + ".lineage.json").read_bytes())

    assert (lineage.rows, lineage.predictions) == (sum(SIZES), len(SIZES))
    assert [one.digest for one in lineage.versions] == [answered.spec.digest]
    assert beside["sha256"] == lineage.sha256
    np.testing.assert_array_equal(_inputs_of(target), np.concatenate(answered.asked))


def test_a_full_disk_is_named(answered: Answered, tmp_path: Path) -> None:
    """What cannot be written is said as any other failure."""
    target = tmp_path / "train.csv"
    target.symlink_to("/dev/full")

    with pytest.raises(InvalidArgumentError, match="cannot be written: No space left"):
        export_predictions(PredictionReader(str(answered.place)), Filter(model="tiny"), target)


def _inputs_of(target: Path) -> Array:
    if target.suffix == ".npz":
        return np.asarray(np.load(target)["input.x"])
    if target.suffix == ".csv":
        header, *lines = target.read_text().splitlines()
        at = header.split(",").index("input.x_0")
        return np.asarray([line.split(",")[at : at + 16] for line in lines], np.float32)
    return np.asarray(parquet.read_table(target)["input.x"].to_pylist(), np.float32)


def _with_output(found: Found, source: object, by: float) -> Found:
    """Return a record whose logged outputs are off by this much."""
    record = found.prediction
    tail = bytearray(record.tail)
    size = record.head.outputs[0].size_bytes
    outputs = np.frombuffer(tail, np.float32, offset=len(tail) - size)
    outputs += np.float32(by)
    changed = msgspec.structs.replace(record, tail=memoryview(bytes(tail)), source=source)
    company = tuple(changed if one is record else one for one in found.company)
    assert isinstance(changed, Prediction)
    return Found(prediction=changed, company=company)
