"""Do logged predictions of real models come out again, and is a change explained by its name?

    python -m benchmarks.models fetch DIR
    python -m benchmarks.reproduce DIR [--count 1000] [--connections 12] [--only NAME …]

Serves the repository with a prediction log, asks each model over HTTP and gRPC from many
connections at once (calls of 1 to 4 rows, so that batches mix), ends the server, and replays each
logged prediction. Then three changes are made on purpose: another number of engine threads, one
changed byte of a weight, and a record that says another version of the engine. Prints a table of
verdicts, and exits 1 when a prediction did not come out again or a change was not named.

On 27 November 2026, 2 CPUs of an AMD EPYC beside busy neighbours: 1,002 predictions of the six
models (ONNX and TorchScript) that ran in batches of 5.6 to 10.2 calls on average (`silero` has no
batch dimension), all EXACT. Each change was named in 10 of 10 predictions of each model; with two
threads instead of one, all were EXACT still.
"""

import argparse
import itertools
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from benchmarks.command import run_main
from benchmarks.instance import Instance, running_instance
from benchmarks.verify_answers import question
from serving.predictions.reading import Filter, Found, PredictionReader
from serving.predictions.record import folder_of
from serving.predictions.replay import PredictionReplay, PredictionReplayer
from serving.predictions.shelf import Shelf

PARAMETER: Final = "bascule-prediction-id"
MODELS: Final = ("magika", "minilm", "minilm_ts", "ocr_cls", "ocr_rec", "silero_vad_stateless_ts")
MOST_ROWS: Final = 4
CHANGED: Final = 10
"""Predictions of each model that are replayed after each change."""
FLOATS: Final = frozenset({"FP16", "FP32", "FP64"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What replays of one model gave."""

    verdicts: Counter[str]
    explained: int = 0
    """Replays whose explanation names the change."""


def main() -> int:
    """Log, replay, change, replay; print what came of it."""
    options = _parser().parse_args()
    place = Path(tempfile.mkdtemp(prefix="reproduce-"))
    repository = place / "models"
    for name in options.only:
        shutil.copytree(options.repository / name, repository / name)
    count = options.count // len(options.only)
    with running_instance(repository, prediction_log=str(place / "log")) as instance:
        ids = {name: _asked(instance, name, count, options.connections) for name in options.only}
    found = _found(place / "log", ids)
    has_failed = False
    print(f"{'model':24} {'logged':>6} {'in batches of':>14}  verdicts")
    for name, logged in found.items():
        sizes = [one.prediction.head.batch.calls for one in logged]
        outcome = _replayed(logged, lambda _: True)
        has_failed |= len(logged) != count or not _all_hold(outcome)
        _say(f"{name:24} {len(logged):6} {_mean(sizes):10.1f} calls  {_told(outcome)}")
    print(f"\n{'changed on purpose':24} {'model':24} verdicts")
    for name, logged in found.items():
        for what, outcome in _changed(logged[:CHANGED]):
            total = sum(outcome.verdicts.values())
            has_failed |= outcome.explained != total
            _say(f"{what:24} {name:24} {_told(outcome)}; named in {outcome.explained} of {total}")
    shutil.rmtree(place)
    return int(has_failed)


def _asked(instance: Instance, model: str, count: int, connections: int) -> set[str]:
    """Ask a model from several connections at once, every other one over gRPC."""
    numbers = itertools.count()
    lock = threading.Lock()

    def work(lane: int) -> list[str]:
        ask = _http_asker(instance, model) if lane % 2 else _grpc_asker(instance, model)
        ids: list[str] = []
        while True:
            with lock:
                number = next(numbers)
            if number >= count:
                return ids
            ids.append(ask(number))

    with ThreadPoolExecutor(connections) as pool:
        return {each for ids in pool.map(work, range(connections)) for each in ids}


def _http_asker(instance: Instance, model: str) -> Callable[[int], str]:
    client = triton_http.InferenceServerClient(instance.http, network_timeout=120.0)
    feeds_of = _feeds_of(client, model)

    def ask(number: int) -> str:
        reply = client.infer(model, _tensors(triton_http, *feeds_of(number)))
        return str(reply.get_response()["parameters"][PARAMETER])

    return ask


def _grpc_asker(instance: Instance, model: str) -> Callable[[int], str]:
    feeds_of = _feeds_of(triton_http.InferenceServerClient(instance.http), model)
    client = triton_grpc.InferenceServerClient(instance.grpc)

    def ask(number: int) -> str:
        reply = client.infer(model, _tensors(triton_grpc, *feeds_of(number)))
        return str(reply.get_response().parameters[PARAMETER].string_param)

    return ask


Feeds = tuple[dict[str, str], dict[str, np.ndarray[Any, Any]]]


def _feeds_of(client: Any, model: str) -> Callable[[int], Feeds]:
    """Return what makes the inputs of the n-th call: other rows, other values each time."""
    config = client.get_model_config(model)
    asked = question(model, client.get_model_metadata(model), config)
    has_rows = int(config.get("max_batch_size", 0)) > 0

    def make(number: int) -> Feeds:
        rng = np.random.default_rng(number)
        rows = int(rng.integers(1, MOST_ROWS + 1))
        feeds = {}
        for name, array in asked.feeds.items():
            values = array[rng.integers(0, len(array), rows)] if has_rows else array
            if asked.datatypes[name] in FLOATS:
                values = values + rng.normal(0, 0.1, values.shape).astype(values.dtype)
            feeds[name] = np.ascontiguousarray(values)
        return dict(asked.datatypes), feeds

    return make


def _tensors(client: Any, datatypes: dict[str, str], feeds: dict[str, Any]) -> list[Any]:
    tensors = []
    for name, array in feeds.items():
        tensor = client.InferInput(name, list(array.shape), datatypes[name])
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return tensors


def _found(place: Path, ids: dict[str, set[str]]) -> dict[str, list[Found]]:
    """Return the logged predictions of each model that we have asked for."""
    reader = PredictionReader(str(place))
    return {
        name: [
            one
            for one in reader.with_company(Filter(model=name))
            if one.prediction.head.id in wanted
        ]
        for name, wanted in ids.items()
    }


def _replayed(
    logged: Sequence[Found], is_explained: Callable[[PredictionReplay], bool], threads: int = 0
) -> Outcome:
    verdicts: Counter[str] = Counter()
    explained = 0
    with Shelf() as shelf:
        replayer = PredictionReplayer(
            shelf=shelf, locate=lambda _: None, may_execute=lambda _: False, threads=threads
        )
        for one in logged:
            replay = replayer.replay(one)
            verdicts[str(replay.verdict)] += 1
            explained += is_explained(replay)
    return Outcome(verdicts=verdicts, explained=explained)


def _changed(logged: Sequence[Found]) -> Iterator[tuple[str, Outcome]]:
    threads = logged[0].prediction.source.served.threads
    other = threads + 1
    yield (
        f"threads {threads} → {other}",
        _replayed(logged, lambda one: _names(one, f"threads {threads} → {other}"), other),
    )
    pretended = [_with_other_engine(one) for one in logged]
    engine = "onnxruntime-gpu" if logged[0].prediction.source.spec.format == "onnx" else "torch"
    yield (f"{engine} 0.1", _replayed(pretended, lambda one: _names(one, f"{engine} 0.1 → ")))
    with _one_byte_changed(logged[0]) as name:
        yield (
            "a byte of the weights",
            _replayed(
                logged,
                lambda one: one.verdict == "DIFFERENT" and f"{name} was changed" in one.reasons[0],
            ),
        )


def _with_other_engine(found: Found) -> Found:
    """Return a record that says that another version of the engine has answered."""
    record = found.prediction
    environment = record.source.environment
    if environment is None:
        return found
    engine = "onnxruntime-gpu" if record.source.spec.format == "onnx" else "torch"
    before = replace(environment, packages={**environment.packages, engine: "0.1"})
    source = msgspec.structs.replace(record.source, environment=before)
    pretended = msgspec.structs.replace(record, source=source)
    company = tuple(pretended if one is record else one for one in found.company)
    return Found(prediction=pretended, company=company)


@contextmanager
def _one_byte_changed(found: Found) -> Iterator[str]:
    """Change a byte in the middle of the model's file for a while; yields its name."""
    file = Path(found.prediction.source.spec.file)
    content = file.read_bytes()
    spoilt = bytearray(content)
    spoilt[len(spoilt) // 2] ^= 0x40
    file.write_bytes(spoilt)
    try:
        yield file.relative_to(folder_of(found.prediction.source.spec)).as_posix()
    finally:
        file.write_bytes(content)


def _names(replay: PredictionReplay, change: str) -> bool:
    return any(str(one).startswith(change) for one in replay.changes if one.matters)


def _all_hold(outcome: Outcome) -> bool:
    return all(verdict == "EXACT" or verdict.startswith("WITHIN") for verdict in outcome.verdicts)


def _told(outcome: Outcome) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in outcome.verdicts.most_common())


def _say(line: str) -> None:
    print(line, flush=True)


def _mean(numbers: Sequence[int]) -> float:
    return sum(numbers) / max(len(numbers), 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce")
    parser.add_argument("repository", type=Path, help="of `python -m benchmarks.models fetch`")
    parser.add_argument("--count", type=int, default=1000, help="predictions of all models")
    parser.add_argument("--connections", type=int, default=12)
    parser.add_argument("--only", nargs="+", default=MODELS, help="names of models")
    return parser


if __name__ == "__main__":
    run_main(main)
