"""Makes golden samples of a model, and measures how well it repeats itself.

A golden output is held to the strictest class that held here while everything that a fingerprint
fixes stayed as it was: run five times, on copies of the inputs at other addresses, the last time
by a model that was loaded anew. Other thread counts, and each row alone, are tried as well, and
say how far outputs may be elsewhere.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import numpy as np

from runtimes.contract import Array, LoadedModel, TensorSpec
from runtimes.errors import EngineError, InvalidArgumentError
from runtimes.generated_feeds import FREE_SIZES, make_feeds
from runtimes.golden import Sample, run_samples
from runtimes.tolerance import BITWISE, Comparison, Tolerance, compare, is_float, worst

MOST_ROWS: Final = 8
THREADS_TRIED: Final = (1, 2)
SHIFTS_BYTES: Final = (8, 16, 32)
"""Where copies of the inputs begin: kernels may take other paths for other alignments."""
ELSEWHERE: Final = Tolerance(kind="close", rtol=1e-3, atol=1e-5)
"""What floats are held to in another environment, unless somebody says otherwise."""
LADDER: Final = (
    BITWISE,
    Tolerance(kind="ulp", ulp=1),
    Tolerance(kind="ulp", ulp=4),
    Tolerance(kind="ulp", ulp=16),
    Tolerance(kind="close", rtol=1e-6, atol=1e-8),
    Tolerance(kind="close", rtol=1e-5, atol=1e-7),
    Tolerance(kind="close", rtol=1e-4, atol=1e-6),
    ELSEWHERE,
    Tolerance(kind="close", rtol=1e-2, atol=1e-3),
    Tolerance(kind="label"),
    Tolerance(kind="none"),
)
"""The classes, strictest first."""

Feeds = tuple[Array | None, ...]
Load = Callable[[int], LoadedModel]
"""Loads the model with a number of engine threads."""
Say = Callable[[str], None]
Run = Sequence[Sequence[Array]]
"""The outputs of each sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """How far outputs moved when one thing was changed."""

    what: str
    """`repeat`, `2 threads`, `rows alone`."""
    outputs: tuple[Comparison, ...]
    """For each output, the worst over all samples, compared bit for bit."""

    @property
    def is_exact(self) -> bool:
        """Nothing moved at all."""
        return all(output.is_exact for output in self.outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Golden samples, and what they may be held to."""

    samples: tuple[Sample, ...]
    same_environment: tuple[Tolerance, ...]
    """For each output."""
    other_environment: tuple[Tolerance, ...]
    variations: tuple[Variation, ...]


def feeds_for(
    model: LoadedModel, inputs: Sequence[TensorSpec], *, count: int, max_batch_rows: int
) -> tuple[Feeds, ...]:
    """Make up inputs that a model takes: of 1, 2 and at most 8 rows, then other values again.

    Args:
        model: The loaded model: sizes of free dimensions are tried on it.
        inputs: Its inputs as callers see them.
        count: How many samples.
        max_batch_rows: 0: no batch dimension.

    Raises:
        InvalidArgumentError: It refuses all that can be made up; the message says why.
        EngineError: It fails on it.
    """
    most = min(MOST_ROWS, max_batch_rows)
    sizes = sorted({1, min(2, most), most}) if most else [None]
    refusal: InvalidArgumentError | EngineError | None = None
    for free_size in FREE_SIZES:
        made = [
            make_feeds(
                inputs,
                rows=sizes[index % len(sizes)],
                free_size=free_size,
                seed=index // len(sizes),
            )
            for index in range(count)
        ]
        try:
            kept = [tuple(feeds) for feeds in made if feeds is not None]
            for feeds in kept:
                model.run(feeds)
        except (InvalidArgumentError, EngineError) as error:
            refusal = error
            continue
        if kept:
            return tuple(kept)
    raise refusal or InvalidArgumentError("its inputs are too large to make up")


def measure(
    load: Load, threads: int, feeds: Sequence[Feeds], *, has_batch: bool, say: Say
) -> Measured:
    """Run inputs, keep their outputs as golden ones, and find the classes that they can be held to.

    Args:
        load: Loads the model; each load is closed here.
        threads: Engine threads of the golden runs.
        feeds: The inputs of each sample.
        has_batch: The first dimension of every tensor is the batch.
        say: Told what is done next.

    Raises:
        InvalidArgumentError: The engine refuses the inputs.
        EngineError: The engine fails.
        ModelLoadError: The model cannot be loaded a second time.
    """
    with closing(load(threads)) as model:
        say("running golden samples")
        samples = tuple(
            Sample(inputs=inputs, outputs=tuple(model.run(inputs)), name=f"{index}")
            for index, inputs in enumerate(feeds)
        )
        golden = [sample.outputs for sample in samples]
        repeats: list[Run] = [
            [model.run(_moved(sample.inputs, shift)) for sample in samples]
            for shift in SHIFTS_BYTES
        ]
        alone = list(_rows_alone(model, samples)) if has_batch else []
    say("loading it once more")
    with closing(load(threads)) as model:
        repeats.append(run_samples(model, samples))
    runs: dict[str, list[Run]] = {"repeat": repeats}
    if alone:
        runs["rows alone"] = [alone]
    for other in THREADS_TRIED:
        if other != threads:
            say(f"running with {other} threads")
            with closing(load(other)) as model:
                runs[f"{other} threads"] = [run_samples(model, samples)]
    everything = [run for some in runs.values() for run in some]
    places = range(len(golden[0]))
    return Measured(
        samples=samples,
        same_environment=tuple(_strictest(golden, repeats, index) for index in places),
        other_environment=tuple(_elsewhere(golden, everything, index) for index in places),
        variations=tuple(_variation(what, golden, found) for what, found in runs.items()),
    )


def _moved(inputs: Feeds, shift_bytes: int) -> Feeds:
    """Copy inputs to addresses that are `shift_bytes` past a multiple of 64."""
    return tuple(None if array is None else _copied(array, shift_bytes) for array in inputs)


def _copied(array: Array, shift_bytes: int) -> Array:
    if array.dtype == object or not array.size:
        return array.copy()
    room = np.empty(array.nbytes + 128, np.uint8)
    start = -room.ctypes.data % 64 + shift_bytes
    place = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    np.copyto(place, array)
    return place


def _rows_alone(model: LoadedModel, samples: Sequence[Sample]) -> Iterator[list[Array]]:
    """Run each row of each sample by itself, and put the answers together again."""
    for sample in samples:
        rows = next((len(array) for array in sample.inputs if array is not None), 0)
        parts = [
            model.run([None if array is None else array[row : row + 1] for array in sample.inputs])
            for row in range(rows)
        ]
        yield [np.concatenate(column) for column in zip(*parts, strict=True)]


def _strictest(golden: Run, runs: Sequence[Run], index: int) -> Tolerance:
    """Return the class that one output may be held to; what is not exact gets a step of margin."""
    for step, allowed in enumerate(LADDER):
        if _holds(golden, runs, index, allowed):
            return allowed if allowed is BITWISE else LADDER[min(step + 1, len(LADDER) - 1)]
    return LADDER[-1]


def _elsewhere(golden: Run, runs: Sequence[Run], index: int) -> Tolerance:
    """Return the class for other environments: the usual one, or looser if it fails here."""
    usual = ELSEWHERE if is_float(golden[0][index].dtype) else BITWISE
    for allowed in LADDER[LADDER.index(usual) :]:
        if _holds(golden, runs, index, allowed):
            return allowed
    return LADDER[-1]


def _holds(
    golden: Run,
    runs: Sequence[Run],
    index: int,
    allowed: Tolerance,
) -> bool:
    return all(
        compare(expected[index], found[index], allowed).holds
        for run in runs
        for expected, found in zip(golden, run, strict=True)
    )


def _variation(
    what: str,
    golden: Run,
    runs: Sequence[Run],
) -> Variation:
    outputs = [
        worst(
            [
                compare(expected[index], now[index], BITWISE)
                for run in runs
                for expected, now in zip(golden, run, strict=True)
            ]
        )
        for index in range(len(golden[0]))
    ]
    return Variation(what=what, outputs=tuple(outputs))
