"""An embedding model whose calls are of many lengths: served with padding, without, and the engine.

    python -m benchmarks.padding [--rounds N] [--calls N] [--connections N] [--results DIR]

MiniLM, one text a call, lengths as `calls.py` draws them. A round asks each system the same calls,
each once, one system after the other; every other round takes the systems backwards. Served are
`plain` (calls of equal lengths run together), `padded` (those under the same of five buckets) and
`one bucket` (all together), through the edge over HTTP, by a closed loop. `bare` is the engine
alone, with the threads that the server has: one call after the other, and as many calls as there
are connections at a time, those under the same bucket together; the instance idles meanwhile. The
prediction log is on, without inputs: it says to which lengths calls were padded. Each embedding is
held against the engine's own. Exits 1 when a call failed or was answered wrongly.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from benchmarks.command import add_results, command_parser, count, run_main
from benchmarks.demo import FOLDER
from benchmarks.instance import InstanceError, running_instance
from benchmarks.model_facts import engine_threads
from benchmarks.models.__main__ import DEFAULT_CACHE
from benchmarks.models.layout import ModelFolder, write_model
from benchmarks.models.real import MINILM, ONNX_FILE, fetch
from benchmarks.models.wheels import FetchError, WheelCache
from benchmarks.padding.answers import TOLERANCE
from benchmarks.padding.bare import run_bare
from benchmarks.padding.calls import BUCKETS, Ids, texts
from benchmarks.padding.page import Turn, page
from benchmarks.padding.rounds import Rounds
from benchmarks.peers.bare_loop import open_session
from benchmarks.report import machine_lines, write

MODEL: Final = "minilm"
PLAIN: Final = "plain"
SERVED: Final[Mapping[str, Sequence[int]]] = MappingProxyType(
    {PLAIN: (), "padded": BUCKETS, "one bucket": BUCKETS[-1:]}
)
"""System → its buckets."""
ALONE: Final = "bare, one by one"
TOGETHER: Final = "bare, by bucket"
PADDING: Final = """
parameters {{ key: "pad_buckets" value {{ string_value: "{buckets}" }} }}
parameters {{ key: "pad_axes" value {{ string_value: "input_ids:1,attention_mask:1" }} }}
parameters {{ key: "pad_values" value {{ string_value: "input_ids:0,attention_mask:0" }} }}
"""


def main() -> int:
    """Measure, print, write."""
    options = _options()
    repository = FOLDER.resolve().parent / "padding" / "models"
    calls = texts(options.calls)
    try:
        _prepare(repository)
        turns = list(_turns(repository, calls, options))
    except (FetchError, InstanceError) as error:
        print(error, file=sys.stderr)
        return 1
    title = (
        f"Calls of many lengths: {len(calls)} of MiniLM, {options.connections} connections, "
        f"medians of {options.rounds} rounds"
    )
    about = [*machine_lines(), "", _about(calls)]
    text = page(title, about, turns, served=list(SERVED), others=[PLAIN, ALONE, TOGETHER])
    write(options.results, "padding", text, [asdict(one) for one in turns])
    return 1 if any(one.sample.measured.failures for one in turns) else 0


def _turns(repository: Path, calls: Sequence[Ids], options: argparse.Namespace) -> Iterator[Turn]:
    with (
        tempfile.TemporaryDirectory(prefix="padding-") as scratch,
        running_instance(
            repository, prediction_log=f"{scratch}/log", prediction_log_inputs="none"
        ) as instance,
    ):
        session = open_session(repository / MODEL / ONNX_FILE, engine_threads(instance, MODEL))
        rounds = Rounds(
            instance=instance,
            log=Path(scratch) / "log",
            session=session,
            calls=calls,
            right=run_bare(session, calls, 1).embeddings,
            connections=options.connections,
        )
        systems = [*SERVED, ALONE, TOGETHER]
        for number in range(1, options.rounds + 1):
            for system in systems if number % 2 else systems[::-1]:
                print(f"round {number}: {system} …", flush=True)
                yield _turn(rounds, system, number)


def _turn(rounds: Rounds, system: str, number: int) -> Turn:
    if system in SERVED:
        return rounds.served(system, _model(system), number)
    return rounds.bare(system, 1 if system == ALONE else rounds.connections, number)


def _prepare(repository: Path) -> None:
    """Put the model into a repository: once as it is, and once for each way of padding."""
    fetch(MODEL, repository, WheelCache(DEFAULT_CACHE.expanduser()))
    payload = (repository / MODEL / ONNX_FILE).read_bytes()
    for system, buckets in SERVED.items():
        if buckets:
            extra = PADDING.format(buckets=",".join(map(str, buckets)))
            config = replace(MINILM, extra=extra)
            folder = ModelFolder(name=_model(system), config=config, files={ONNX_FILE: payload})
            write_model(repository, folder)


def _model(system: str) -> str:
    return MODEL if system == PLAIN else f"{MODEL}_{system.replace(' ', '_')}"


def _about(calls: Sequence[Ids]) -> str:
    lengths = sorted(ids.shape[1] for ids in calls)
    middle, late = (lengths[int(share * len(lengths))] for share in (0.5, 0.99))
    return (
        f"Tokens of a call: {lengths[0]} to {lengths[-1]}, half up to {middle}, 99 % up to {late}; "
        f"buckets of `padded`: {', '.join(map(str, BUCKETS))}. Required of each number of each "
        f"embedding: within {TOLERANCE:g} of the engine's own. CPU time is that of the instance's "
        "processes, or of the engine; rows are those of a mean batch; padding is a share of the "
        "tokens run. A bare call's time counts since the first one of its window began."
    )


def _options() -> argparse.Namespace:
    parser = command_parser("benchmarks.padding", __doc__)
    parser.add_argument("--rounds", type=count, default=5)
    parser.add_argument("--calls", type=count, default=512, help="of each system in a round")
    parser.add_argument("--connections", type=count, default=32)
    add_results(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run_main(main)
