"""Loads a model with its real engine, runs it a few times and reports what it saw.

No verdict: `runtimes.preflight.running` judges the `Trial`. Whatever the model does wrong ends up
in the record; only what nobody foresees is raised.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from runtimes.batch_proof import PROOF_ROWS, settle_signature, why_rows_may_touch
from runtimes.catalogue import runtime_for
from runtimes.contract import Array, LoadedModel, LoadRequest, Noted, Placed
from runtimes.datatypes import DTYPES
from runtimes.devices import Device
from runtimes.errors import EngineError, InvalidArgumentError, ModelLoadError, UnsupportedError
from runtimes.generated_feeds import make_feeds
from runtimes.golden import OutputReplay, Sample, compare_samples, run_samples
from runtimes.preflight.subject import NOTHING_CONFIGURED
from runtimes.preflight.trial import OutputComparison, Trial
from runtimes.signature import (
    Configured,
    Signature,
    as_configured,
    declared_inputs,
    declared_outputs,
)
from runtimes.tolerance import Tolerance
from runtimes.trial_cost import Costs, host_bytes
from runtimes.warmup import warm_up

REPEATS: Final = 5
NOT_SHOWN: Final = ("it refuses made-up rows", "its inputs are too large to make up")
"""Reasons of a batch proof that say nothing of rows: it could not be run."""
NO_DEVICE: Final = "the model asks for"
"""How both engines begin when they did not get their device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialOrder:
    """What to load and to run."""

    format: str
    request: LoadRequest
    """Its declared tensors are filled in from `configured`."""
    configured: Configured = NOTHING_CONFIGURED
    samples: tuple[Sample, ...] = ()
    tolerances: tuple[Tolerance, ...] = ()
    """One for each output, where there are samples."""
    is_timed: bool = False
    """Measure how long warm runs take."""
    used_bytes: Callable[[], int] = host_bytes
    """Memory in use where the model runs."""


def try_model(order: TrialOrder, *, now_s: Callable[[], float]) -> Trial:
    """Load and run a model once.

    Args:
        order: What to load.
        now_s: A monotonic clock in seconds.
    """
    device = order.request.device
    request = replace(
        order.request,
        declared_inputs=declared_inputs(order.configured),
        declared_outputs=declared_outputs(order.configured),
    )
    try:
        model = as_configured(runtime_for(order.format).load(request), order.configured)
    except (ModelLoadError, UnsupportedError) as error:
        return Trial(
            device=str(device),
            load_problem=error.message,
            load_code=_code_of(error, device),
        )
    try:
        return _seen(model, order, Trial(device=str(device)), now_s)
    finally:
        model.close()


def _code_of(error: ModelLoadError | UnsupportedError, where: Device) -> str:
    if where.kind == "cuda" and NO_DEVICE in error.message:
        return "BP-E01"
    return error.finding if isinstance(error, ModelLoadError) else "BP-R07"


def _seen(model: LoadedModel, order: TrialOrder, empty: Trial, now_s: Callable[[], float]) -> Trial:
    try:
        signature = settle_signature(model, order.configured)
    except ModelLoadError as error:
        return replace(empty, signature_problem=error.message)
    claimed = (order.configured.max_batch_rows or 0) > 1
    warmth = warm_up(model, signature.inputs, now_s=now_s)
    trial = replace(
        empty,
        max_batch_rows=signature.max_batch_rows,
        is_batch_claimed=claimed,
        is_state_kept=isinstance(model, Noted) and bool(model.notes),
        run_problem=warmth.note,
        run_s=warmth.run_s or 0.0,
        placement=model.findings if isinstance(model, Placed) else (),
    )
    if claimed and signature.max_batch_rows >= PROOF_ROWS:
        trial = replace(trial, row_interaction=_interaction(model, signature))
    if warmth.free_size is not None:
        trial = _repeated(model, signature, trial, warmth.free_size)
        trial = _costly(
            Costs(
                model=model,
                inputs=signature.inputs,
                max_batch_rows=signature.max_batch_rows,
                free_size=warmth.free_size,
                run_s=trial.run_s,
                now_s=now_s,
                used_bytes=order.used_bytes,
            ),
            trial,
            is_timed=order.is_timed,
        )
    return _replayed(model, order, trial) if order.samples else trial


def _interaction(model: LoadedModel, signature: Signature) -> str:
    doubt = why_rows_may_touch(model, signature) or ""
    return "" if doubt.startswith(NOT_SHOWN) else doubt


def _repeated(model: LoadedModel, signature: Signature, trial: Trial, free_size: int) -> Trial:
    """Run the same made-up row several times."""
    feeds = make_feeds(signature.inputs, rows=1, free_size=free_size)
    if feeds is None:
        return trial
    try:
        runs = [model.run(feeds) for _ in range(REPEATS)]
    except (InvalidArgumentError, EngineError) as error:
        return replace(trial, run_problem=error.message)
    return replace(
        trial,
        distinct_runs=1 if trial.is_state_kept else len({_bits(run) for run in runs}),
        not_finite=_not_finite(signature, runs[0]),
        shape_problems=_shape_problems(signature, runs[0]),
    )


def _costly(costs: Costs, trial: Trial, *, is_timed: bool) -> Trial:
    if trial.run_problem:
        return trial
    latencies = costs.latencies() if is_timed else ()
    return replace(trial, latencies=latencies, growth=costs.growth())


def _bits(outputs: Sequence[Array]) -> bytes:
    return b"".join(
        repr(one.tolist()).encode() if one.dtype == object else one.tobytes() for one in outputs
    )


def _not_finite(signature: Signature, outputs: Sequence[Array]) -> tuple[str, ...]:
    return tuple(
        spec.name
        for spec, found in zip(signature.outputs, outputs, strict=True)
        if not _is_finite(found)
    )


def _is_finite(array: Array) -> bool:
    if array.dtype == object or array.dtype.kind in "biu":
        return True
    return bool(np.isfinite(array.astype(np.float64)).all())


def _shape_problems(signature: Signature, outputs: Sequence[Array]) -> tuple[str, ...]:
    problems = []
    for spec, found in zip(signature.outputs, outputs, strict=True):
        wanted = spec.shape
        fits = len(wanted) == found.ndim and all(
            dim in {-1, size} for dim, size in zip(wanted, found.shape, strict=True)
        )
        # An empty shape stands for a rank that the model does not state.
        if (wanted and not fits) or found.dtype != DTYPES[spec.datatype]:
            problems.append(
                f"output '{spec.name}' is declared as {spec.datatype} {list(wanted)} and came as "
                f"{found.dtype} {list(found.shape)}"
            )
    return tuple(problems)


def _replayed(model: LoadedModel, order: TrialOrder, trial: Trial) -> Trial:
    try:
        found = run_samples(model, order.samples)
    except (InvalidArgumentError, EngineError) as error:
        return replace(trial, golden_problem=error.message)
    if any(len(one) != len(order.tolerances) for one in found):
        return replace(trial, golden_problem="the samples have other outputs than the model")
    replays = compare_samples(model.outputs, order.samples, found, order.tolerances)
    return replace(
        trial,
        golden=tuple(_comparison(one) for one in replays),
        golden_not_finite=tuple(
            spec.name
            for index, spec in enumerate(model.outputs)
            if any(not _is_finite(outputs[index]) for outputs in found)
        ),
    )


def _comparison(replay: OutputReplay) -> OutputComparison:
    seen = replay.comparison
    return OutputComparison(
        output=replay.name,
        is_within=seen.holds,
        detail="" if seen.holds else f"sample {replay.sample}: {seen.reason} ({replay.tolerance})",
    )
